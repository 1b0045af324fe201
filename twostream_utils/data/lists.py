"""Lists that say which clips are for training and which for the test, as data sets have them."""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .extract import SIDES

_THREE = {"0": "", "1": "train", "2": "test"}  # HMDB51: not used, training, test


def read_lists(where: str, labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """`{clip: "train", "val" or "test"}` and `{clip: group}` of the clips that a list names.

    Reads a CSV with the columns path and split or group (and label), UCF101's lists (give the one
    of the training clips: that of the test is looked for beside it), HMDB51's
    (`lists/*_test_split1.txt`) and two files train.txt and test.txt with a path a line. `labels`
    leads from clip to label.

    Raises FileNotFoundError: no such file; ValueError: it says nothing of these clips.
    """
    files = sorted(map(Path, glob.glob(str(Path(where).expanduser()))))
    if not files:
        raise FileNotFoundError(f"no list {where}: give a file, or a pattern such as lists/*.txt")
    if len(files) == 1 and (twin := _twin(files[0])):
        files.append(twin)
    known: dict[tuple[str, str], str] = {}
    for clip, label in labels.items():
        for name in clip, clip.removeprefix("v_"), clip.removeprefix(f"v_{label}_"):
            for key in (label, name), ("", name):
                known[key] = clip if known.get(key, clip) == clip else ""  # not which one
    sides, groups, lines, strangers = {}, {}, 0, []
    for file in files:
        for path, label, side, group in _entries(file):
            lines += 1
            *above, name = re.split(r"[/\\]", path)
            label = label or [*above, ""][-1]
            names = [  # a folder in between is in a clip's name, and of twins the suffix
                "_".join([*above[len(above) - k :], last])
                for last in (name.replace(".", "_"), re.sub(r"\.\w{2,4}$", "", name))
                for k in range(len(above), -1, -1)
            ]
            keys = [(which, name) for name in names for which in (label, "")]
            clip = next(filter(None, map(known.get, keys)), "")
            if not clip:
                strangers.append(path)
            if clip and side:
                sides[clip] = side
            if clip and group:
                groups[clip] = group
    both = {"train", "test"} <= {"test" if s == "val" else s for s in sides.values()}
    if not both and (sides or not groups):
        raise ValueError(
            f"{where} names {len(sides)} of the {len(labels)} clips, and not some for each of "
            f"training and test; its first line that fits no clip: {[*strangers, 'none'][0]}"
        )
    if strangers:
        print(f"{len(strangers)} of {lines} lines of {where} name no clip here: {strangers[0]}, …")
    return sides, groups


def _twin(file: Path) -> Path | None:
    for a, b in ("train", "test"), ("test", "train"):
        if a in file.name and (twin := file.with_name(file.name.replace(a, b))).is_file():
            return twin if twin != file else None
    return None


def _entries(file: Path) -> Iterator[tuple[str, str, str, str]]:
    """Path, label, side and group of each line; an empty side is a clip that is not used."""
    lines = [line for line in file.read_text("utf-8-sig", "replace").splitlines() if line.strip()]
    between = ";" if lines and ";" in lines[0] else ","  # as spreadsheets write where 0,5 is a half
    head, *rows = csv.reader(lines, delimiter=between) if lines else [[]]
    head = [word.strip().lower() for word in head]
    if {"split", "group"} & {*head}:
        for cells in rows:
            row = {name: cell.strip() for name, cell in zip(head, cells)}
            path = next((row[key] for key in ("path", "clip", "video", "file") if key in row), "")
            side = SIDES.get(row.get("split", "").lower(), "")
            yield path, row.get("label", ""), side, row.get("group", "")
        return
    three = re.fullmatch(r"(.+)_test_split\d\.txt", file.name)
    side = next((SIDES[word] for word in SIDES if word in file.name.lower()), "")
    for line in lines:
        path, _, number = line.strip().rpartition(" ")
        if not path or not number.isdigit():
            path, number = line, "0"
        side = _THREE.get(number, "") if three else side
        yield path.strip(), three[1] if three else "", side, ""
