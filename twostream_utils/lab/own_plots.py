"""Pictures of an opinion: bars of the five best classes, and a film of where both streams look."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import replace

import cv2
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from ..flow import decode
from ..fusion import METHODS
from ..profiles import Profile
from ..stacks import crop_frames
from ..store import FrameStore
from ..vgg import VGG
from ..views import eval_views, span
from .flow_colours import colour_wheel
from .flow_plots import fastest
from .gradcam import clip_cams, shown_pair, spotlight
from .own_video import Opinion
from .plots import BLUE, ORANGE, check_alt

TITLE, GAP, INK = 20, 6, (34, 34, 34)
WHEEL = 5  # the colour wheel takes a fifth of the height of a flow picture
FILM_BYTES = 300_000


def top_bars(said: Opinion, k: int = 5) -> Figure:
    """Draw the ``k`` best classes of each method, probabilities in %.

    The answer of the average fusion is orange wherever it appears.
    """
    answer = said.top("average_fusion", 1)[0][0]
    size = (10, 1.4 + 0.42 * min(k, len(said.classes)))
    fig, axes = plt.subplots(2, 3, figsize=size)
    for axis, method in zip(axes.flat, said.scores):
        names, values = zip(*said.top(method, k)[::-1])
        percent = 100 * np.array(values)
        bars = axis.barh(names, percent, color=[ORANGE if n == answer else BLUE for n in names])
        axis.bar_label(bars, [f"{value:.0f}" for value in percent], fontsize=9, padding=2)
        axis.set(title=METHODS[method].title, xlim=(0, 112), xticks=(0, 50, 100), xlabel="%")
    for axis in axes.flat[len(said.scores) :]:
        axis.remove()
    return fig


def describe(said: Opinion) -> str:
    """Say in a sentence what the bars show: the alt text of :func:`top_bars`."""
    best = [
        f"{METHODS[m].title} {name} {100 * p:.0f} %"
        for m in said.scores
        for name, p in said.top(m, 1)
    ]
    return f"the five best classes of each method for {said.clip}; first: " + ", ".join(best)


def gradcam_film(
    networks: Mapping[str, VGG],
    store: FrameStore,
    clip: str,
    profile: Profile,
    target: int,
    side: int = 160,
    most: int = 48,
) -> tuple[np.ndarray, int]:
    """A clip with what the spatial stream looks at beside its flow with what the temporal one does.

    For each frame shown, the stacks are taken that have it nearest to their middle; near both ends
    of a clip, and in a short one throughout, that is the same stack for many frames, so the light
    stands still while the picture moves. At most ``most`` frames are shown, evenly spread. The
    flow has one scale throughout: its colour wheel stands in the corner, and the title says how
    many px per frame its rim stands for.

    Returns ``(T, side + 20, 2·side + 6, 3)`` uint8 RGB and the milliseconds that a frame stays.
    """
    numbers = store.flow_numbers(clip)
    numbers = numbers[:: -(-len(numbers) // most)].tolist()
    centre = eval_views(store.n_frames(clip), store.size(clip), profile)[0]
    last = 1 + max(store.n_frames(clip) - span(profile), 0)
    starts = [min(max(1, number - span(profile) // 2), last) for number in numbers]
    unique = sorted(set(starts))
    views = [replace(centre, start=start) for start in unique]
    cams = [
        clip_cams(networks[stream], stream, store, clip, views, profile, target)
        for stream in ("spatial", "temporal")
    ]
    fields = crop_frames(store.read_flow(clip, numbers), centre, centre.side)
    top = fastest(decode(fields), 0.999)
    wheel = colour_wheel(side // WHEEL)
    disc = np.hypot(*np.mgrid[-1 : 1 : len(wheel) * 1j, -1 : 1 : len(wheel) * 1j]) <= 1
    film = np.full((len(numbers), TITLE + side, 2 * side + GAP, 3), 255, np.uint8)
    for frame, number, start in zip(film, numbers, starts, strict=True):
        pair = shown_pair(store, clip, number, centre, side, top)
        titles = "spatial stream", f"temporal, rim {top:.1f} px/frame"
        for k, (picture, name) in enumerate(zip(pair, titles)):
            x = k * (side + GAP)
            frame[TITLE:, x : x + side] = spotlight(picture, cams[k][unique.index(start)])
            cv2.putText(
                frame, name, (x + 2, TITLE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA
            )
        frame[-len(wheel) :, -len(wheel) :][disc] = wheel[disc]
    return film, 40 * (numbers[1] - numbers[0] if len(numbers) > 1 else 1)


def webp(film: np.ndarray, milliseconds: int, limit: int = FILM_BYTES) -> bytes:
    """Encode ``(T, H, W, 3)`` uint8 as an endless animated WebP of at most ``limit`` bytes.

    The quality goes down until it fits. Raises ``ValueError`` if the poorest does not fit either.
    """
    images = [Image.fromarray(frame) for frame in film]
    for quality in 75, 60, 45, 30, 15, 5:
        out = io.BytesIO()
        images[0].save(
            out, "WEBP", save_all=True, append_images=images[1:], duration=milliseconds, loop=0,
            quality=quality, method=4,
        )  # fmt: skip
        if out.tell() <= limit:
            return out.getvalue()
    raise ValueError(
        f"{len(film)} frames of {film.shape[2]}x{film.shape[1]} px do not fit into {limit} bytes: "
        "show fewer or smaller ones"
    )


def film_html(film: np.ndarray, milliseconds: int, alt: str) -> str:
    """Return the film as an ``<img>`` with alt text, the whole WebP inside.

    Raises ``ValueError`` for an alt text that says nothing, or a film that is too large.
    """
    check_alt(alt, "film")
    data = base64.b64encode(webp(film, milliseconds)).decode()
    return f'<img src="data:image/webp;base64,{data}" alt="{html.escape(alt)}">'


def show_film(film: np.ndarray, milliseconds: int, alt: str) -> None:
    """Show a film with a text for those who cannot see it, as ``plots.show`` does for figures."""
    bundle = {"text/html": film_html(film, milliseconds, alt), "text/plain": alt}
    display(bundle, raw=True)
