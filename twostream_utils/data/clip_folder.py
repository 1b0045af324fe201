"""A folder of videos, `<class>/<clip>.avi`, filled clip by clip out of whatever holds them.

Names inside an archive never become paths: a clip's place is made from its parts after they were
matched, so no archive can write anywhere else.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from ..splits import parse_name
from .download import read_json, room_or_message, sha256, write_json
from .video import VIDEO_SUFFIXES

WEIZMANN_ACTIONS = tuple("bend jack jump pjump run side skip walk wave1 wave2".split())
_WEIZMANN = re.compile(r"([a-z]+)_(\w+)\.avi")


def ucf101_place(name: str) -> tuple[str, str] | None:
    """Class and file name of a UCF101 clip by its name in an archive, None for anything else.

    Only the last part of the name counts: some archives have class folders, some have not. Both
    spellings of HandstandPushups give the class of that name; the file keeps its own.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return None
    try:
        clip = parse_name(path.stem)
    except ValueError:
        return None
    return (clip.label, path.name) if clip.label.isalnum() else None


def weizmann_place(name: str) -> tuple[str, str] | None:
    """Action and file name of a Weizmann clip, `<person>_<action>.avi`, None for anything else.

    Where a person acts twice (`lena_walk1`, `lena_walk2`), the first take is the person's clip
    and the second is left out: 90 clips, 9 persons × 10 actions, as in Gorelick et al., PAMI 2007.
    """
    match = _WEIZMANN.fullmatch(PurePosixPath(name).name)
    if not match:
        return None
    person, action = match.groups()
    if action not in WEIZMANN_ACTIONS and action.endswith("1"):
        action = action[:-1]
    return (action, f"{person}_{action}.avi") if action in WEIZMANN_ACTIONS else None


class ClipFolder:
    """Videos of `classes` under `root`; what was fetched is recorded in `<root>/fetched.json`.

    Args:
        root: the folder, made when the first clip is written.
        classes: class names that are wanted.
        place: class and file name by a name in an archive, None for what is no clip.
    """

    def __init__(
        self,
        root: Path,
        classes: Iterable[str],
        place: Callable[[str], tuple[str, str] | None] = ucf101_place,
    ) -> None:
        self.root = Path(root)
        self.classes = tuple(classes)
        self._place = place
        self._record = self.root / "fetched.json"
        self._facts: dict[str, dict] = read_json(self._record)
        self._saved = time.monotonic()

    def target(self, name: str) -> Path | None:
        """Where the archive member `name` belongs; None if it is no clip of a wanted class."""
        placed = self._place(name)
        if placed is None or placed[0] not in self.classes:
            return None
        return self.root / placed[0] / placed[1]

    def has(self, target: Path, size: int) -> bool:
        """Whether the clip is there whole (its name is given only to whole files)."""
        if not target.is_file() or target.stat().st_size != size:
            return False
        if self._key(target) not in self._facts:  # killed between the clip and the record
            self._facts[self._key(target)] = {"bytes": size, "sha256": sha256(target)}
        return True

    def write(self, target: Path, chunks: Iterable[bytes], source: str) -> None:
        """Write a clip aside, then give it its name. An error in `chunks` leaves nothing."""
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(target.name + ".partial")  # a kill leaves it to the next run
        digest, size = hashlib.sha256(), 0
        try:
            with room_or_message(target), open(aside, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            os.replace(aside, target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        self._note(target, size, digest.hexdigest(), source)

    def adopt(self, file: Path, target: Path) -> None:
        """Take over a file of this disk: a second name for it where possible, else a copy."""
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(target.name + ".partial")
        aside.unlink(missing_ok=True)
        try:
            os.link(file, aside)
        except OSError:  # another disk, or one that knows no second names
            with room_or_message(target):
                shutil.copyfile(file, aside)
        os.replace(aside, target)
        self._note(target, target.stat().st_size, sha256(target), str(file.name))

    def save(self) -> None:
        """Write the record."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self._record, self._facts)
        self._saved = time.monotonic()

    def counts(self) -> Counter:
        """Number of clips on the disk for each wanted class."""
        return Counter(
            {
                label: sum(
                    path.suffix.lower() in VIDEO_SUFFIXES
                    for path in (self.root / label).glob("[!.]*")
                )
                for label in self.classes
            }
        )

    def size(self) -> int:
        """Bytes of the clips of the wanted classes."""
        return sum(
            path.stat().st_size for label in self.classes for path in (self.root / label).glob("*")
        )

    def _key(self, target: Path) -> str:
        return target.relative_to(self.root).as_posix()

    def _note(self, target: Path, size: int, digest: str, source: str) -> None:
        self._facts[self._key(target)] = {"bytes": size, "sha256": digest, "source": source}
        if time.monotonic() - self._saved > 10:
            self.save()
