"""How far the camera moves in real clips, and what is left of their flow without each field's mean.

    python -m twostream_utils.experiments.camera SHARDS JavelinThrow Surfing Skiing

A line a clip, all in px per frame: the drift, the motion, and the motion that is left.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..flow import decode, subtract_mean
from ..store import FrameStore


def drift(store: FrameStore, clip: str) -> float:
    """How far the whole image moves between frames, px: the median length of the fields' means."""
    mean = decode(store.read_flow(clip, store.flow_numbers(clip))).mean(axis=(1, 2))
    return round(float(np.median(np.linalg.norm(mean, axis=1))), 3)


def motion(store: FrameStore, clip: str) -> tuple[float, float]:
    """Root mean square of a clip's motion, px per frame: as it is, without each field's mean."""
    fields = store.read_flow(clip, store.flow_numbers(clip))
    squares = ((decode(q) ** 2).sum(axis=-1).mean() for q in (fields, subtract_mean(fields)))
    whole, left = np.sqrt([*squares])
    return round(float(whole), 3), round(float(left), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("classes", nargs="*", help="only these; default: all")
    options = parser.parse_args()
    store = FrameStore(options.shards)
    clips = [c for c in store.clips if not options.classes or store.label(c) in options.classes]
    rows = {clip: (drift(store, clip), *motion(store, clip)) for clip in clips}
    print(f"{'clip':<32}{'drift':>8}{'motion':>8}{'left':>8}")
    for clip in sorted(rows, key=rows.get, reverse=True):
        print(f"{clip:<32}" + "".join(f"{value:8.2f}" for value in rows[clip]))
    spread = np.quantile([*rows.values()], [0, 0.5, 1], axis=0)
    for name, values in zip(("lowest", "median", "highest"), spread):
        print(f"{name:<32}" + "".join(f"{value:8.2f}" for value in values))


if __name__ == "__main__":
    main()
