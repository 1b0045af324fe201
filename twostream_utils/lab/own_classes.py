"""Your own classes: a folder of videos → a course of its own, trained or fine-tuned."""

from __future__ import annotations

import copy
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import nn

from ..course import Course
from ..data.extract import make_shards
from ..files import atomic_write
from ..profiles import Profile, get_profile
from ..stacks import StackDataset, inputs, make_loader
from ..store import FrameStore
from ..vgg import VGG
from .results import FEW
from .sources import encode_video
from .start import sentence_alone


@sentence_alone()
def own_classes(
    videos: str | os.PathLike, folder: str | os.PathLike, *, like: Profile | None = None,
    seed: int = 0, **changes,
) -> Course:  # fmt: skip
    """Make a course of ``<videos>/<class>/<clip>.mp4``, ready to train.

    The sizes are those of ``like``, so that its networks can be fine-tuned, or else of the profile
    ``"folder"``, with ``changes`` to them, e.g. ``group_pattern="^([a-z]+)_"``. Frames and flow go
    to ``<folder>/shards`` and networks to ``<folder>/runs``; both are used again if nothing has
    changed. Prints what was left out and every warning of :func:`group_warnings`.

    Raises ``FileNotFoundError`` for no videos and ``ValueError`` for too few groups.
    """
    profile = get_profile("folder", **changes)
    if like is not None:
        own = {"split_rule": "folds", "val_fraction": 0.0, "classes": None, "group_pattern": None}
        own["epoch_clips"] = min(like.epoch_clips, 48)  # a classifier is tuned, no network trained
        profile = replace(like, **(own | changes))
    folder = Path(folder)
    make_shards(videos, folder / "shards", profile)
    store = FrameStore(folder / "shards", cache_gb=profile.cache_gb)
    course = Course(profile, store, folder / "runs", seed=seed)
    for warning in group_warnings(course):
        print(f"warning: {warning}")
    return course


def fine_tune(
    stream: VGG, batches: Iterable, classes: int, epochs: int = 10, lr: float = 0.01
) -> VGG:
    """Return a copy of a trained stream for other classes: a new last layer, the same features.

    ``batches`` are gone through once an epoch: a list of normalised stacks, here one, ``(B, C, H,
    W)`` float32, and labels ``(B,)``, on the stream's device. Only the classifier is trained.
    """
    model = copy.deepcopy(stream)
    last = model.classifier[-1]
    model.classifier[-1] = nn.Linear(last.in_features, classes).to(last.weight.device)
    model.features.requires_grad_(False)
    model.train()
    model.features.eval()  # batch norm keeps its statistics, too
    optimizer = torch.optim.SGD(model.classifier.parameters(), lr, momentum=0.9)
    for _ in range(epochs):
        for stacks, labels in batches:
            loss = nn.functional.cross_entropy(model(*stacks), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


class Batches:
    """The training batches of one stream, drawn anew each time that one goes through them."""

    def __init__(self, dataset: StackDataset, device: torch.device, batch_size: int = 16):
        self.dataset, self.device = dataset, device
        self.loader = make_loader(dataset, batch_size, 0, 0)

    def __iter__(self) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        yield from inputs(self.loader, self.device, self.dataset.streams, "fine-tuning")
        self.dataset.epoch += 1


def group_warnings(course: Course) -> list[str]:
    """Say what makes the figures of a course untrustworthy: missing groups, classes in one part.

    A group is what must not be torn apart: clips of one person, one place, one afternoon. Without
    groups, twins of training clips are in the test, and the figure says how well the network
    remembers.
    """
    store = course.store
    parts = {"training": course.train, "test": course.test}
    clips = [clip for part in parts.values() for clip in part]
    alone = sum(store.group(clip) == clip for clip in clips)
    found = []
    if alone:
        found.append(
            f"no group is known for {alone} of {len(clips)} clips, so each of these is its own. If "
            "two show the same person or place, one may be in training and the other in the test, "
            "and the test flatters. Put the group into the name (wave_g01_c02.mp4), or give "
            "group_pattern (with make: GROUPS)"
        )
    for name, part in parts.items():
        if missing := sorted(set(course.classes) - {store.label(clip) for clip in part}):
            found.append(
                f"no {name} clip of {', '.join(missing)}: film it in more groups (persons, places)"
            )
    if len(course.test) < FEW:
        share = 1 / max(len(course.test), 1)
        found.append(f"only {len(course.test)} test clips: one clip more or less is {share:.0%}")
    return found


def export_videos(store: FrameStore, clips: Iterable[str], folder: str | os.PathLike) -> Path:
    """Write clips as ``<folder>/<class>/<clip>.avi`` (Motion JPEG, 25 per second); return folder.

    A group that no ``_gNN_`` in the clip's name tells is a folder in between, as extraction reads
    it. Files that are there are left alone. Raises ``OSError`` if a file cannot be written.
    """
    folder = Path(folder)
    for clip in clips:
        group = store.group(clip)
        named = group == clip or re.fullmatch(r"g\d{2}", group)
        path = folder.joinpath(store.label(clip), *[group] * (not named), f"{clip}.avi")
        if path.exists():
            continue
        frames = store.images(clip, range(1, store.n_frames(clip) + 1))
        with atomic_write(path) as part:
            part.write_bytes(encode_video(frames, 25))
    return folder


def small_folder(course: Course, classes: int = 3, each: int = 8) -> Path:
    """Write a few clips of a course as a folder of videos, for trying things; return the folder.

    ``each`` clips of the first ``classes``, of as many groups as there are. Test clips, which the
    course's networks were not trained on, unless these are of fewer than three groups.
    """
    store = course.store
    for clips in course.test, [*course.train, *course.val, *course.test]:
        chosen = []
        for label in course.classes[:classes]:
            groups = defaultdict(list)
            for clip in sorted(clip for clip in clips if store.label(clip) == label):
                groups[store.group(clip)].append(clip)
            rounds = zip_longest(*groups.values())  # the first clip of every group, the second, …
            chosen += [clip for some in rounds for clip in some if clip][:each]
        if len({store.group(clip) for clip in chosen}) >= 3:
            break
    folder = course.run_dir / "own_classes" / store.fingerprint(chosen)
    return export_videos(store, chosen, folder / "videos")
