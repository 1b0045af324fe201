"""Clips out of an archive on this disk: zip, tar (packed or not), rar, or a folder of videos."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

from .clip_folder import ClipFolder
from .download import check_room
from .web import CHUNK, FetchError, archive_kind

# Each takes the archive and the folder to unpack into; the first that is there and manages is
# used. Older 7z and unrar-free lack some of rar's packings, so another may have to follow.
_RAR_TOOLS = {
    "unrar": ["unrar", "x", "-o+", "-idq", "{archive}", "{folder}/"],
    "unar": ["unar", "-quiet", "-force-overwrite", "-no-directory", "-o", "{folder}", "{archive}"],
    "bsdtar": ["bsdtar", "-x", "-f", "{archive}", "-C", "{folder}"],
    "7zz": ["7zz", "x", "-y", "-bd", "-o{folder}", "{archive}"],
    "7z": ["7z", "x", "-y", "-bd", "-o{folder}", "{archive}"],
}
_RAR_HELP = """install one of the programs that can, then give the same command again:
  Debian, Ubuntu, Colab:  sudo apt install unar
  Fedora:                 sudo dnf install unar
  macOS with Homebrew:    brew install unar
  Windows:                winget install 7zip.7zip   (and add its folder to PATH)
  conda:                  conda install -c conda-forge libarchive   (bsdtar)
or unpack it by hand and give the folder"""


def unpack(path: Path, folder: ClipFolder, progress: bool = True) -> list[str]:
    """Put the clips that `folder` wants out of `path` into it; returns what is damaged.

    `path`, which must exist, may be an archive (known by its first bytes, not its name) or a
    folder, searched with all its folders. Clips that are there already are passed over; a folder's
    clips are given a second name where the disk allows it, so they cost no room.

    Raises:
        FetchError: no archive, cut short, or a rar and no program for it.
    """
    if path.is_dir():
        _adopt_all(path, folder, progress)
        return []
    with open(path, "rb") as file:
        kind = archive_kind(file.read(512))
    reader = {"zip": _from_zip, "tar": _from_tar, "rar": _from_rar}.get(kind)
    if reader is None:
        raise FetchError(
            f"{path} is neither zip, rar nor tar by its first bytes: cut short, or a web page "
            "saved under this name. Get it again"
        )
    try:
        return reader(path, folder, progress)
    finally:
        folder.save()


def room_for_zip(path: Path, folder: ClipFolder) -> tuple[int, int, int] | None:
    """Of the clips in a zip that `folder` wants: how many, how many it has, bytes of the others.

    `None` for anything but a zip: a rar or tar tells only while it is unpacked.

    Raises:
        FetchError: a zip that is cut short.
    """
    with open(path, "rb") as file:
        if archive_kind(file.read(512)) != "zip":
            return None
    with _open_zip(path) as archive:
        wanted = [
            (folder.has(target, info.file_size), info.file_size)
            for info in archive.infolist()
            if not info.is_dir() and (target := folder.target(info.filename))
        ]
    return len(wanted), sum(has for has, _ in wanted), sum(n for has, n in wanted if not has)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise FetchError(f"{path} is no whole zip ({error}): get it again") from error


def _from_zip(path: Path, folder: ClipFolder, progress: bool) -> list[str]:
    damaged = []
    archive = _open_zip(path)
    with archive, tqdm(archive.infolist(), unit="file", disable=not progress) as members:
        for info in members:
            target = None if info.is_dir() else folder.target(info.filename)
            if target is None or folder.has(target, info.file_size):
                continue
            try:
                with archive.open(info) as source:
                    folder.write(target, _chunks(source), path.name)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                damaged.append(f"{info.filename}: {error}")
    return damaged


def _from_tar(path: Path, folder: ClipFolder, progress: bool) -> list[str]:
    try:
        with tarfile.open(path) as archive, tqdm(archive, unit="file", disable=not progress) as bar:
            for info in bar:
                target = folder.target(info.name) if info.isreg() else None
                if target is not None and not folder.has(target, info.size):
                    folder.write(target, _chunks(archive.extractfile(info)), path.name)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise FetchError(
            f"{path} is cut short or damaged ({error}). The clips before that place are kept; get "
            "the file again and give the same command"
        ) from error
    return []


def find_rar_tools(what: str | Path) -> dict[str, list[str]]:
    """Programs of this machine that unpack a rar, with their words.

    Raises:
        FetchError: there is none; names `what` and the packages to install.
    """
    tools = {name: command for name, command in _RAR_TOOLS.items() if _reads_rar(name)}
    if not tools:
        raise FetchError(f"{what} is a rar, which Python cannot read: {_RAR_HELP}")
    return tools


def _reads_rar(name: str) -> bool:
    """Whether a program is here and reads rar: Debian's 7-Zip is built without."""
    if shutil.which(name) is None:
        return False
    if not name.startswith("7z"):
        return True
    return b" Rar5 " in subprocess.run([name, "i"], capture_output=True).stdout


def _from_rar(path: Path, folder: ClipFolder, progress: bool) -> list[str]:
    tools = find_rar_tools(path)
    for left in folder.root.glob(".unpacked-*"):  # by a kill
        shutil.rmtree(left, ignore_errors=True)
    check_room(folder.root, path.stat().st_size)
    folder.root.mkdir(parents=True, exist_ok=True)
    complaints = []
    for name, command in tools.items():
        with tempfile.TemporaryDirectory(dir=folder.root, prefix=".unpacked-") as staging:
            words = [word.format(archive=path.absolute(), folder=staging) for word in command]
            status, said = _run(words, Path(staging), name, progress)
            if status == 0:
                _adopt_all(Path(staging), folder, progress)
                return []
        complaints.append(f"{name}: {said or f'exit status {status}'}")
    raise FetchError(
        f"{path} could not be unpacked ({'; '.join(complaints)}). Is it whole, and is there room "
        f"for all of it? If so, {_RAR_HELP}"
    )


def _run(words: list[str], staging: Path, name: str, progress: bool) -> tuple[int, str]:
    """Run a program to its end; its status and the last line that it said."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            with tqdm(desc=name, unit="B", unit_scale=True, disable=not progress) as bar:
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(1)
                    bar.update(_size(staging) - bar.n if progress else 0)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else ""


def _adopt_all(source: Path, folder: ClipFolder, progress: bool) -> None:
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
    for file in tqdm(files, unit="file", disable=not progress):
        target = folder.target(file.name)
        if target is None or file.resolve() == target.resolve():
            continue
        if not folder.has(target, file.stat().st_size):
            folder.adopt(file, target)
    folder.save()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
