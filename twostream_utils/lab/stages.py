"""Which stage takes the time: labels put around functions from outside, and their own times."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from unittest import mock

from torch.profiler import profile, record_function

Place = tuple[object, str]  # a module or class, and the name of a function in it


@contextlib.contextmanager
def labelled(places: Mapping[str, Sequence[Place]]) -> Iterator[None]:
    """Within the block, ``record_function(label)`` surrounds every call of the functions named.

    ``labelled({"decode": [(cv2, "imdecode")]})`` shows ``cv2.imdecode`` to the profiler under that
    name, whoever calls it in this process. Raises ``AttributeError`` for a function that is not
    there.
    """
    with contextlib.ExitStack() as stack:
        for label, functions in places.items():
            for owner, name in functions:
                wrapped = _wrap(getattr(owner, name), label)
                stack.enter_context(mock.patch.object(owner, name, wrapped))
        yield


def _wrap(function: Callable, label: str) -> Callable:
    @functools.wraps(function)
    def wrapped(*args, **named):
        with record_function(label):
            return function(*args, **named)

    return wrapped


def own_times(profiled: profile, labels: Sequence[str]) -> dict[str, float]:
    """Return ms of each label, in the order of ``labels``, without what lies in labels inside it.

    Every moment counts once, so the times add up. They are those of the CPU: let a stage that
    starts work on a GPU wait for it (``torch.cuda.synchronize``). A label that did not occur has 0.
    """
    times = dict.fromkeys(labels, 0.0)
    for event in profiled.events():
        if event.name in times:
            times[event.name] += event.cpu_time_total / 1000
            outer = event.cpu_parent
            while outer is not None and outer.name not in times:
                outer = outer.cpu_parent
            if outer is not None:
                times[outer.name] -= event.cpu_time_total / 1000
    return times
