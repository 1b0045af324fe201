"""Lists that say which clips are for training and which for the test, as data sets have them."""

from __future__ import annotations

import csv
import glob
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from pathlib import Path
from unicodedata import normalize

from .extract import SIDES

_THREE = {"0": "", "1": "train", "2": "test"}  # HMDB51: not used, training, test


def read_lists(where: str, labels: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """`{clip: "train", "val" or "test"}` and `{clip: group}` of the clips that a list names.

    Reads a CSV with the columns path and split or group (and label), UCF101's lists (give the one
    of the training clips: that of the test is looked for beside it), HMDB51's
    (`lists/*_test_split1.txt`) and two files train.txt and test.txt with a path a line. `labels`
    leads from clip to label.

    Raises FileNotFoundError: no such file; ValueError: it says nothing of these clips, puts one of
    them on two sides, or is a damaged CSV.
    """
    path = Path(where).expanduser()
    files = [path] if path.is_file() else sorted(map(Path, glob.glob(str(path))))
    if not files:
        raise FileNotFoundError(f"no list {where}: give a file, or a pattern such as lists/*.txt")
    if len(files) == 1 and (twin := _twin(files[0])):
        files.append(twin)
    known: dict[tuple[str, str], str] = {}
    for clip, label in labels.items():
        whole, label = (normalize("NFC", word) for word in (clip, label))  # macOS: e, then accent
        for name in whole, whole.removeprefix("v_"), whole.removeprefix(f"v_{label}_"):
            for key in (label, name), ("", name):
                known[key] = clip if known.get(key, clip) == clip else ""  # not which one
    sides, groups, lines, strangers = {}, {}, 0, []
    classes = {label for label, _ in known if label}
    for file in files:
        for path, label, side, group in _entries(file):
            lines += 1
            *above, name = re.split(r"[/\\]", path)
            label = next((word for word in (label, *above[::-1]) if word in classes), "")
            names = [  # a folder in between is in a clip's name, and of twins the suffix
                "_".join([*above[len(above) - k :], last])
                for last in (name.replace(".", "_"), name, re.sub(r"\.\w{2,4}$", "", name))
                for k in range(len(above), -1, -1)
            ]
            clip = next(filter(None, (known.get((label, name)) for name in names)), "")
            if not clip:
                strangers.append(path)
            if clip and side and sides.setdefault(clip, side) != side:
                both = f"has {path} for {sides[clip]} and for {side}"
                raise ValueError(f"{where} {both}: give the lists of one split")
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
    data = file.read_bytes()  # a spreadsheet writes "Unicode text" with tabs
    code = "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    text = normalize("NFC", data.decode(code, "replace"))
    lines = [line for line in text.splitlines() if line.strip()]
    between = next((c for c in "\t;" if c in "".join(lines[:1])), ",")  # a ; where 0,5 is a half
    try:
        head, *rows = csv.reader(lines or [""], delimiter=between, strict=True)
    except csv.Error as error:
        raise ValueError(f"{file} is a damaged CSV: {error}") from error
    head = [word.strip().lower() for word in head]
    if {"split", "group"} & {*head}:
        for cells in rows:
            row = {name: cell.strip() for name, cell in zip(head, cells)}
            paths = [row[key] for key in ("path", "clip", "video", "file") if key in row]
            side = SIDES.get(row.get("split", "").lower(), "")
            yield (*paths, f"{cells}")[0], row.get("label", ""), side, row.get("group", "")
        return
    three = re.fullmatch(r"(.+)_test_split\d\.txt", file.name)
    side = next((SIDES[word] for word in SIDES if word in file.name.lower()), "")
    for line in lines:
        path, _, number = line.replace("\t", " ").strip().rpartition(" ")
        if not path or not number.isdigit():
            path, number = line, "0"
        side = _THREE.get(number, "") if three else side
        yield path.strip(), three[1] if three else "", side, ""
