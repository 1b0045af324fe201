"""Videos from wherever they are, an address, an archive or a folder, into one folder of clips."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipInfo

from .clip_folder import ClipFolder
from .download import Line, NoRoomError, arrived, check_room, download, gigabytes
from .processes import locked
from .remote_zip import fetch_members, make_plan, read_directory
from .unpack import find_rar_tools, room_for_zip, unpack
from .web import FetchError, NoRangesError, Remote, probe


@dataclass(frozen=True)
class Source:
    """One place that is known to have had the videos.

    `size` in bytes is what was reported of it, for the reader; what counts is what the server
    says. `classes` where it has only some.
    """

    name: str
    url: str
    size: int | None
    about: str
    classes: tuple[str, ...] | None = None


@dataclass
class Job:
    """What is wanted and how: the clips' folder, where whole archives are kept, a dry run or not.

    A dry run asks the servers and prints what would be fetched, and fetches nothing but the
    directory of a zip. `due` is the number of clips of each class: where all of them are
    there, an archive that would have to be fetched or unpacked as a whole is left alone.
    """

    folder: ClipFolder
    archives: Path
    dry_run: bool = False
    progress: bool = True
    line: Line = field(default_factory=Line)
    due: Mapping[str, int] | None = None

    def complete(self) -> bool:
        """Whether every clip that is due is in the folder; says so if it is."""
        counts = self.folder.counts()
        if not self.due or any(counts[label] != n for label, n in self.due.items()):
            return False
        print(f"  {_clips(self, counts.total(), counts.total())}: nothing to do")
        return True

    @contextlib.contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Be the only command that writes to `folder`, unless this is a dry run."""
        if self.dry_run:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            yield


def table(sources: Sequence[Source]) -> str:
    """The sources as text, two lines each, in the order in which they are tried."""
    lines = ["  (addresses and sizes as reported; none could be tried where this was written)"]
    for source in sources:
        size = gigabytes(source.size) if source.size else "not known"
        lines += [f"  {source.name:<9} {size:>9}  {source.about}", f"            {source.url}"]
    return "\n".join(lines)


def fetch_first(sources: Sequence[Source], job: Job) -> None:
    """Try `sources` in order until one has given all that `job` wants; print why one did not.

    Raises:
        FetchError: none did.
        NoRoomError: at once, since the others need as much room or more.
    """
    for source in sources:
        print(f"{source.name}: {source.url}")
        lacking = [c for c in job.folder.classes if source.classes and c not in source.classes]
        try:
            if lacking:
                raise FetchError(
                    f"it has no {_listed(lacking)}; its {len(source.classes)} classes are "
                    f"{', '.join(source.classes)}"
                )
            return fetch(source.url, job)
        except NoRoomError:
            raise
        except FetchError as error:
            print(f"  did not work: {str(error).removeprefix(f'{source.url}: ')}")
    raise FetchError(
        "no source gave everything. Clips that are whole are kept and the same command goes on. "
        "If you can get an archive or the videos another way, give its path or address by --source"
    )


def fetch(where: str | Path, job: Job) -> None:
    """Bring the wanted clips out of an address, an archive or a folder into `job.folder`.

    Of a zip on a server that sends byte ranges only the wanted members are fetched; anything else
    is fetched whole, kept in `job.archives` and unpacked. Prints bytes and room before it starts.

    Raises:
        FetchError: in plain words. Whole clips are kept, and the next call goes on.
        OSError: another command writes to the same folder.
    """
    if "://" not in str(where):
        return _take_here(Path(where).expanduser(), job)
    remote = probe(str(where))
    if not remote.kind:
        raise FetchError(f"{where} is no zip, rar or tar by its first bytes")
    if remote.kind == "zip" and remote.ranges:
        try:
            return _fetch_members(remote, job)
        except NoRangesError as error:
            print(f"  {error}")
    _fetch_whole(remote, job)


def _fetch_members(remote: Remote, job: Job) -> None:
    directory = read_directory(remote)
    found = {
        target.parent.name for info in directory if (target := job.folder.target(info.filename))
    }
    if lacking := [label for label in job.folder.classes if label not in found]:
        raise FetchError(f"{remote.url} has no clips of {_listed(lacking)}")
    with job.alone(job.folder.root):
        damaged = _fetch_planned(remote, directory, job)
    if damaged:
        raise FetchError(_damage_message(remote.url, damaged))


def _fetch_planned(remote: Remote, directory: Sequence[ZipInfo], job: Job) -> list[str]:
    damaged: list[str] = []
    for again in (False, True):
        plan = make_plan(remote, directory, job.folder)
        needed = plan.disk(job.line.connections)
        free = check_room(job.folder.root, needed)
        print(
            f"  {_clips(job, plan.total, plan.present)}\n"
            f"  to fetch: {gigabytes(plan.size)} of {gigabytes(remote.size)} "
            f"({plan.size / remote.size:.0%})\n  room: {gigabytes(needed)} needed, "
            f"{gigabytes(free)} free" + ("\n  once more for what arrived damaged" if again else "")
        )
        if job.dry_run:
            break
        progress = job.progress and bool(plan.spans)
        damaged = fetch_members(plan, job.folder, job.line, progress)
        if not damaged:
            break
    return damaged


def _fetch_whole(remote: Remote, job: Job) -> None:
    if job.complete():
        return
    if remote.kind == "rar":
        find_rar_tools(remote.url)  # before gigabytes have come that nothing here can read
    with job.alone(job.archives):
        path = _fetch_archive(remote, job)
    if not job.dry_run:
        print(f"  {path} is whole; delete it when you have all classes that you want")
        _unpack_all(path, job)


def _fetch_archive(remote: Remote, job: Job) -> Path:
    path = job.archives / remote.name
    size, here = remote.size or 0, arrived(remote, path)
    # A rar is unpacked as a whole beside the archive; videos hardly shrink when packed.
    needed = max(0, size - here) + (size if remote.kind == "rar" else 0)
    free = check_room(job.archives, needed)
    print(
        f"  a {remote.kind} has to be fetched whole here\n"
        f"  to fetch: {gigabytes(size - here) if size else 'the server does not say how much'}, "
        f"{gigabytes(here)} here already\n"
        f"  room: {gigabytes(needed)} needed, {gigabytes(free)} free"
        + ("" if remote.kind == "rar" else "; the clips come on top of it")
    )
    if not job.dry_run:
        download(remote, path, job.line, progress=job.progress)
    return path


def _take_here(path: Path, job: Job) -> None:
    if not path.exists():
        raise FetchError(f"there is no file or folder {path}")
    inside = room_for_zip(path, job.folder) if path.is_file() else None
    if path.is_file() and not inside and job.complete():
        return
    total, present, needed = inside or (0, 0, 0)
    free = check_room(job.folder.root, needed)
    print(f"  {path}{f', {gigabytes(path.stat().st_size)}' if path.is_file() else ''}")
    if inside:
        print(f"  {_clips(job, total, present)}\n  room: {gigabytes(needed)} needed, ", end="")
    else:
        print("  room: ", end="")
    print(f"{gigabytes(free)} free")
    if not job.dry_run:
        _unpack_all(path, job)


def _unpack_all(path: Path, job: Job) -> None:
    with job.alone(job.folder.root):
        damaged = unpack(path, job.folder, job.progress)
    if damaged:
        raise FetchError(_damage_message(path, damaged))
    counts = job.folder.counts()
    if lacking := [label for label in job.folder.classes if not counts[label]]:
        raise FetchError(f"{path} has no clips of {_listed(lacking)}")


def _clips(job: Job, total: int, present: int) -> str:
    classes = len(job.folder.classes)
    named = "1 class" if classes == 1 else f"{classes} classes"
    return f"{named}, {total} clips, {present} of them here already"


def _damage_message(where: str | Path, damaged: list[str]) -> str:
    return (
        f"{len(damaged)} clips are damaged in {where} and were left out; the others are whole: "
        f"{'; '.join(damaged[:5])}{' …' if len(damaged) > 5 else ''}. Another source may have "
        "them whole"
    )


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
