"""The mini set on disk: a thousand generated clips with their flow, one shard per class."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from tqdm.auto import tqdm

from ..data.processes import locked, parallel_map
from ..data.shards import ShardWriter, encode_clip
from .clip import CLASSES, render_clip

GROUPS, CLIPS_PER_GROUP = 25, 4
FPS, FLOW, QUALITY = 25.0, "dis_small", 92


def make_mini(
    root: str | os.PathLike, seed: int = 0, workers: int | None = None, progress: bool = True, *,
    classes: Sequence[str] = CLASSES, groups: int = GROUPS,
) -> list[Path]:
    """Render the mini set, compute its flow and write one shard per class into `root`.

    1000 clips of 52–61 frames of 96×72 px by default. The same seed gives the same bytes. Shards
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
        ValueError: a class that is not in `clip.CLASSES`, or fewer than one group.
    """
    unknown = sorted(set(classes) - set(CLASSES))
    if unknown or groups < 1:
        raise ValueError(f"classes must be among {', '.join(CLASSES)} and groups at least 1; got "
                         f"classes {unknown or list(classes)}, groups {groups}")
    root = Path(root)
    infos = {label: {"generator": "mini", "seed": seed, "groups": groups,
                     "probe": _probe(label, seed)} for label in classes}

    def due() -> list[str]:
        return [k for k in classes if not infos[k].items() <= _info(root / f"{k}.zip").items()]

    if due():
        root.mkdir(parents=True, exist_ok=True)
        with locked(root, wait=True):
            if left := due():  # the one waited for may have made them all
                _make_shards(root, left, infos, workers, progress)
    return [root / f"{label}.zip" for label in classes]


def _make_shards(
    root: Path, due: list[str], infos: dict[str, dict], workers: int | None, progress: bool
) -> None:
    for left in root.glob("*.zip.*partial"):  # by a kill
        left.unlink()
    jobs = [(label, group, infos[label]["seed"])
            for label in due for group in range(1, infos[label]["groups"] + 1)]
    with (closing(parallel_map(_encode_group, jobs, workers)) as results,
          tqdm(total=len(jobs) * CLIPS_PER_GROUP, unit="clip", desc="mini set",
               disable=not progress) as bar):
        for label in due:
            with ShardWriter(root / f"{label}.zip", infos[label]) as shard:
                for _ in range(infos[label]["groups"]):
                    for members, meta in next(results):
                        shard.add(members, meta)
                        bar.update()


def _encode_group(job: tuple[str, int, int]) -> list[tuple[list[tuple[str, bytes]], dict]]:
    label, group, seed = job
    encoded = []
    for number in range(1, CLIPS_PER_GROUP + 1):
        frames = render_clip(label, group, number, seed)
        name = f"v_{label}_g{group:02d}_c{number:02d}"
        meta = {"label": label, "group": f"g{group:02d}", "source": "generated", "fps": FPS,
                "frames": len(frames), "flow": FLOW}
        encoded.append((encode_clip(name, frames, FLOW, QUALITY), {name: meta}))
    return encoded


def _probe(label: str, seed: int) -> str:
    """Return a checksum of the start of one clip as the code here and now would write it.

    It changes with whatever changes the pictures or the flow, and with nothing else.
    """
    frames = render_clip(label, 1, 1, seed, length=3)
    data = b"".join(jpeg for _, jpeg in encode_clip("probe", frames, FLOW, QUALITY))
    return hashlib.sha256(data).hexdigest()[:16]


def _info(path: Path) -> dict:
    """`dataset.json` of a whole shard; empty if there is none.

    Its last member, stored, ends where the zip's directory begins: no need to parse thousands of
    entries at the start of each notebook.
    """
    with suppress(OSError, ValueError), open(path, "rb") as file:
        file.seek(-22, os.SEEK_END)
        end = file.read()
        if end[:4] == b"PK\5\6":
            directory = int.from_bytes(end[16:20], "little")
            file.seek(max(0, directory - 1000))
            return json.loads(file.read(min(directory, 1000)).rpartition(b"dataset.json")[2])
    return {}
