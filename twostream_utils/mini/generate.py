"""The mini set on disk: a thousand generated clips, one shard per class, and the public names.

What a class is stands in `mini_clip`; the still pictures a small network starts from stand in
`mini_still`.
"""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tqdm.auto import tqdm

from ..archives import Archive, ArchiveError
from ..data.lock import locked
from ..data.pool import in_order
from ..data.shards import ShardWriter, encode_clip
from .clip import CLASSES, HEIGHT, RECIPES, WIDTH, render_clip
from .still import STILL_CLASSES, render_still

__all__ = ["CLASSES", "HEIGHT", "RECIPES", "STILL_CLASSES", "WIDTH", "clip_name", "make_mini",
           "render_clip", "render_still"]

GROUPS, CLIPS_PER_GROUP = 25, 4
FPS, FLOW, QUALITY = 25.0, "dis", 92

def clip_name(label: str, group: int, number: int) -> str:
    """Return the UCF101-style name of a clip, e.g. ``v_JumpRope_g07_c02``."""
    return f"v_{label}_g{group:02d}_c{number:02d}"


def make_mini(
    root: str | os.PathLike, seed: int = 0, workers: int | None = None, progress: bool = True, *,
    classes: Sequence[str] = CLASSES, groups: int = GROUPS,
) -> list[Path]:
    """Render the mini set, compute its flow and write one shard per class into `root`.

    1000 clips of 52–70 frames of 96×72 px by default. The same seed gives the same bytes. Shards
    that are whole and current are kept, so an interrupted call goes on with the next class and a
    second call returns at once. Of two calls at once one makes the shards and the other waits.

    Args:
        root: folder for `<Class>.zip`; made if missing.
        seed: another seed gives other persons, scenes and movements.
        workers: processes; None takes one per core, 1 stays in this process.
        progress: show a bar.
        classes, groups: a part of the set, for tests.

    Returns:
        The paths of the shards, in the order of `classes`.

    Raises:
        ValueError: a class that is not in `CLASSES`, or fewer than one group.
    """
    unknown = sorted(set(classes) - set(CLASSES))
    if unknown or groups < 1:
        raise ValueError(f"classes must be among {', '.join(CLASSES)} and groups at least 1; got "
                         f"classes {unknown or list(classes)}, groups {groups}")
    root = Path(root)
    paths = [root / f"{label}.zip" for label in classes]
    info = {"generator": "mini", "seed": seed, "groups": groups, "flow": FLOW, "quality": QUALITY}
    infos = {label: info | {"probe": _probe(label, seed)} for label in classes}

    def due() -> list[str]:
        return [k for k, path in zip(classes, paths, strict=True) if _info(path) != infos[k]]

    if due():
        root.mkdir(parents=True, exist_ok=True)
        with locked(root, wait=True):
            if left := due():  # the one waited for may have made them all
                _make_shards(root, left, infos, groups, workers, progress)
    return paths


def _make_shards(
    root: Path, due: list[str], infos: dict[str, dict], groups: int, workers: int | None,
    progress: bool,
) -> None:
    jobs = [(k, group, infos[k]["seed"]) for k in due for group in range(1, groups + 1)]
    with (closing(in_order(_encode_group, jobs, workers)) as results,
          tqdm(total=len(jobs) * CLIPS_PER_GROUP, unit="clip", desc="mini set",
               disable=not progress) as bar):
        for label in due:
            with ShardWriter(root / f"{label}.zip", infos[label]) as shard:
                for _ in range(groups):
                    for members, meta in next(results):
                        shard.add(members, meta)
                        bar.update()


def _encode_group(job: tuple[str, int, int]) -> list[tuple[list[tuple[str, bytes]], dict]]:
    label, group, seed = job
    encoded = []
    for number in range(1, CLIPS_PER_GROUP + 1):
        frames = render_clip(label, group, number, seed)
        name = clip_name(label, group, number)
        meta = {"label": label, "group": f"g{group:02d}", "source": "generated", "fps": FPS,
                "frames": len(frames), "flow_method": FLOW}
        encoded.append((encode_clip(name, frames, FLOW, QUALITY), {name: meta}))
    return encoded


def _probe(label: str, seed: int) -> str:
    """Return a checksum of the start of one clip as the code here and now would write it.

    It changes with whatever changes the pictures or the flow, and with nothing else.
    """
    frames = render_clip(label, 1, 1, seed, length=3)
    data = b"".join(jpeg for _, jpeg in encode_clip("probe", frames, FLOW, QUALITY))
    return hashlib.sha256(data).hexdigest()[:16]


def _info(path: Path) -> dict | None:
    """Return the settings a whole shard was made with; None if there is no readable one."""
    try:
        archive = Archive(path)
        try:
            name, entry = archive.last_member()
            return json.loads(archive.read_member(entry)) if name == b"dataset.json" else None
        finally:
            archive.close()
    except (ArchiveError, OSError, ValueError):
        return None
