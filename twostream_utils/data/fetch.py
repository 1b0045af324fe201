"""Videos of UCF101 and Weizmann, from wherever they are, into `<folder>/<class>/<clip>`.

From a zip on a server we fetch only the wanted clips: its directory says where they are. Any other
archive is downloaded whole. A clip gets its name only once its size and CRC-32 are right, so a kill
costs no more than the clips on their way. Names in an archive never become paths.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter, namedtuple
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import requests
import urllib3
from remotezip import RangeNotSupported, RemoteIOError, RemoteZip, RemoteZipError
from tqdm.auto import tqdm

from ..files import atomic_write
from ..profiles import Profile
from ..splits import SPELLING, parse_name
from .processes import locked
from .ucf101_clips import ucf101_clips

TIMEOUT = (15, 20)  # seconds without a connection, seconds without a byte
TRIES = 8  # with nothing gained in between; the waits between them double, up to 15 s
RUN = 8 << 20  # bytes of consecutive clips that one request brings
DIRECTORY = 2 << 20  # bytes at the end of a zip that hold the directory of all of UCF101
_LOST = (RemoteIOError, requests.RequestException, urllib3.exceptions.HTTPError)
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError)
_NO_ZIP = (zipfile.BadZipFile, RuntimeError, ValueError)  # too new, encrypted; names not in UTF-8
_BY_HAND = "download the file in a browser and give its path as the source"
_AGAIN = "Clips that are here are whole, and the same call goes on from there"
_WORDS = {  # what the layers below say, and what it means
    "certificate has expired": "its certificate has expired (or is the clock here wrong?)",
    "unable to get": "the server sends an incomplete chain of certificates",
    "timed out": "nothing came for too long",
    "IncompleteRead": "the connection was cut",
    "resol": "there is no such server, or this machine is offline",
}
# Addresses (one named like a class has only that), clips of each class, a pattern of their names.
VideoSet = namedtuple("VideoSet", "sources clips pattern")
# Clips at a source and those of them here (0 where only unpacking tells); the rest is bytes.
Plan = namedtuple("Plan", "classes clips present download room free")
_Clip = namedtuple("_Clip", "target size entry start stop")
_HF = "https://huggingface.co/datasets"
_DB = "https://www.wisdom.weizmann.ac.il/~vision/VideoAnalysis/Demos/SpaceTimeActions/DB"
_ACTIONS = "bend|jack|jump|pjump|run|side|skip|walk|wave1|wave2"
UCF101 = VideoSet(
    {  # tried in this order; none could be tried where this was written, any may be dead by now
        "hf-zip": f"{_HF}/quchenyuan/UCF101-ZIP/resolve/main/UCF-101.zip",  # 6.96 GB
        "thumos": "https://storage.googleapis.com/thumos14_files/UCF101_videos.zip",
        "official": "https://www.crcv.ucf.edu/datasets/human-actions/ucf101/UCF101.rar",  # 6.90 GB
        "subset": f"{_HF}/sayakpaul/ucf101-subset/resolve/main/UCF101_subset.tar.gz",  # ten classes
    },
    Counter(parse_name(clip).label for clip in ucf101_clips()),
    r"(?P<stem>v_(?P<label>\w+)_g\d\d_c\d\d)(?P<suffix>\.(?i:avi|mp4|mov|mkv|webm))",
)
WEIZMANN = VideoSet(  # of lena_walk1 and lena_walk2 the first counts (Gorelick et al., 2007)
    {action: f"{_DB}/{action}.zip" for action in _ACTIONS.split("|")},
    dict.fromkeys(_ACTIONS.split("|"), 9),
    rf"(?P<stem>[a-z]+_(?P<label>{_ACTIONS}))1?(?P<suffix>\.avi)",
)


class FetchError(Exception):
    """We could not get something; the message says what, where, and what to do."""


def extraction_of(profile: Profile) -> list[str]:
    """The options of `data_scripts/extract.py` for what was fetched, as chapter 01 extracts it."""
    words = ["--short-side", f"{profile.short_side}", "--flow", profile.flow]
    words += ["--every", f"{profile.flow_step}"] * (profile.flow_step > 1)
    return words + ["--group-pattern", profile.group_pattern] * bool(profile.group_pattern)


def fetch(
    videos: VideoSet, folder: str | Path, classes: Iterable[str] | None = None,
    source: str | Path = "", connections: int = 4, progress: bool = True, dry_run: bool = False,
) -> list[Plan]:  # fmt: skip
    """Bring the videos of `classes` (default: all) into `folder`; a plan for each source used.

    The sources of `videos` are tried in turn, or `source` only: the name of one, an address, or a
    zip, tar, rar or folder on this machine. Clips that are here are left alone, so the same call
    goes on after `FetchError` or `KeyboardInterrupt`. A second call at the same time waits for the
    first. A dry run asks the servers and writes nothing.
    """
    folder, plans = Path(folder), []
    lacking = {SPELLING.get(label, label) for label in classes or ()} or {*videos.clips}
    if unknown := lacking - {*videos.clips}:
        raise FetchError(f"no class {', '.join(unknown)}; there are {', '.join(videos.clips)}")
    here = Counter(c for c in lacking for p in (folder / c).glob("*") if _place(videos, p.name))
    if all(here[label] >= videos.clips[label] for label in lacking):
        return [_plan(folder, dry_run, lacking, here.total(), here.total(), 0, 0)]
    known = {name: at for name, at in videos.sources.items() if source in ("", name)}
    with contextlib.ExitStack() as stack:
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder, wait=True))
            for left in [*folder.glob("*/*.partial"), *folder.glob(".unpacked-*")]:  # by a kill
                left.unlink() if left.is_file() else shutil.rmtree(left, ignore_errors=True)
        for name, where in (known or {"source": str(source)}).items():
            if not (wanted := lacking & {name} if name in videos.clips else lacking):
                continue
            print(f"{name}: {where}")
            try:
                plans.append(_take(videos, folder, wanted, where, connections, progress, dry_run))
                lacking = lacking - plans[-1].classes
            except KeyboardInterrupt:
                print(f"\nStopped. {_AGAIN}")
                raise
            except (FetchError, RemoteZipError) as error:
                if not known:
                    raise
                print(f"  did not work: {error}")
            except OSError as error:
                raise FetchError(f"{error}. {_AGAIN}") from error
    if lacking:
        raise FetchError(f"no source gave all clips of {', '.join(sorted(lacking))}. {_AGAIN}")
    return plans


def _plan(folder, dry, classes, clips: int, present: int, download: int, room: int) -> Plan:
    """Print what it takes. Raises `OSError` if there is no room for it."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    plan = Plan(classes, clips, present, download, room, shutil.disk_usage(there).free)
    needs = "{}B to fetch; {}B of room needed, {}B free".format(*map(tqdm.format_sizeof, plan[3:]))
    print(f"  {clips} clips, {present} of them here already;" if clips else " ", needs, flush=True)
    if room > plan.free and not dry:
        raise OSError(f"no room left in {folder}: {needs}")
    return plan


def _place(videos: VideoSet, name: str) -> tuple[str, str] | None:
    """Class and file name of a clip by its name in an archive; None if it is no clip."""
    match = re.fullmatch(videos.pattern, re.split(r"[/\\]", name)[-1])
    return match and (SPELLING.get(match["label"], match["label"]), match["stem"] + match["suffix"])


def _take(videos, folder, classes, where, connections, progress, dry) -> Plan:
    """Take what one source has of `classes`."""
    session, archive, path = _Session(), None, Path(where).expanduser()
    connect = functools.partial(RemoteZip, where, DIRECTORY, session=session, timeout=TIMEOUT)
    with contextlib.ExitStack() as stack:
        if "://" in where:
            path = folder / ".archives" / re.sub(r"[^\w.]+", "_", where)[-120:]
            if not path.exists():
                with contextlib.suppress(RangeNotSupported, *_NO_ZIP):
                    archive = _patiently(where, connect, tries=3)
        remote = archive is not None
        archive = archive or _opened(path)
        if not (archive or path.is_dir()):
            cost = int(session.version[0]) if session.version else 0  # asked: so it is not here
            room = 2 * cost if session.version else path.stat().st_size
            plan = _plan(folder, dry, classes, 0, 0, cost, room)
            if dry:
                return plan
            if session.version:
                _patiently(where, lambda: _download(session, where, path, progress))
                print(f"  {path} is whole; delete it once you have all the classes you want")
            archive = _opened(path)
            if not archive:
                new = tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-")
                path = _unpack(path, Path(stack.enter_context(new)))
        if path.is_dir():
            files = [(p.name, p.stat().st_size, p, 0, 0) for p in path.rglob("*") if p.is_file()]
        else:
            stack.enter_context(archive)
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
            starts = [*(info.header_offset * remote for info in infos), archive.start_dir * remote]
            files = [(i.filename, i.file_size, i, *at) for i, at in zip(infos, pairwise(starts))]
        wanted: dict[Path, _Clip] = {}
        for name, *clip in files:
            label, file = _place(videos, name) or ("", "")
            if label in classes:
                wanted.setdefault(folder / label / file, _Clip(folder / label / file, *clip))
        found = {target.parent.name for target in wanted}
        missing = [c for t, c in wanted.items() if not (t.is_file() and t.stat().st_size == c.size)]
        room, cost = sum(c.size for c in missing), sum(c.stop - c.start for c in missing)
        plan = _plan(folder, dry, found, len(wanted), len(wanted) - len(missing), cost, room)
        if missing and not dry:
            with tqdm(total=room, unit="B", unit_scale=True, disable=not progress) as bar:
                _save(where, missing, archive, connect, connections if remote else 1, bar)
    return plan


def open_remote(
    videos: VideoSet, classes: Iterable[str] | None = None
) -> tuple[str, dict[str, Callable[[], bytes]]]:
    """Single videos of a set, straight from the first of its zips that answers.

    Returns where they come from, and `{"<class>/<clip>.avi": read}`, where `read()` gets the bytes
    of one video. Raises FetchError: no zip of the set can be read.
    """
    wanted, found, places, said = {*(classes or videos.clips)}, {}, [], []
    for name, where in videos.sources.items():
        if name in videos.clips and name not in wanted:
            continue
        session = _Session()
        connect = functools.partial(RemoteZip, where, DIRECTORY, session=session, timeout=TIMEOUT)
        try:
            archive = _patiently(where, connect, tries=2)
        except (FetchError, RemoteZipError, zipfile.BadZipFile) as error:
            said.append(str(error).replace(f". {_AGAIN}", "").removeprefix(f"{where}: "))
            continue
        places, opened = [*places, where], [archive]
        for entry in archive.infolist():
            label, file = _place(videos, entry.filename) or ("", "")
            if label in wanted:
                found.setdefault(f"{label}/{file}", _reader(where, connect, opened, entry))
        if wanted <= {path.partition("/")[0] for path in found}:
            break
    if not found:
        raise FetchError(f"none of {', '.join(videos.sources)} answers: {'; '.join({*said})}")
    return " ".join(places), found


def _reader(where: str, connect: Callable, opened: list, entry: zipfile.ZipInfo) -> Callable:
    def work() -> bytes:
        archive = opened.pop() if opened else connect()  # another one after an error
        data = archive.read(entry)
        opened.append(archive)
        return data

    return lambda: _patiently(where, work)


def _save(where: str, clips: list[_Clip], archive, connect, connections: int, bar: tqdm) -> None:
    """Write clips to their places, each whole or not at all, from several connections if remote."""
    runs: list[list[_Clip]] = []
    for clip in clips:
        if not runs or runs[-1][-1].stop != clip.start or clip.stop > runs[-1][0].start + RUN:
            runs.append([])
        runs[-1].append(clip)
    damaged, opened = [], {}  # each thread opens a zip of its own, and another after an error

    def save(run: list[_Clip]) -> None:
        own = archive
        if isinstance(own, RemoteZip):
            own = opened.pop(threading.get_ident(), None) or _patiently(where, connect)
            own.fp.set_position_to_size({run[0].start: run[-1].stop - run[0].start})
        while run:
            clip = run[0]
            try:  # zipfile checks size and CRC-32
                data = own.read(clip.entry) if own else clip.entry.read_bytes()
                with atomic_write(clip.target) as part:
                    part.write_bytes(data)
            except _DAMAGED as error:
                damaged.append(f"{clip.target.name} ({error})")
            bar.update(clip.size)
            run[:1] = []
        opened[threading.get_ident()] = own

    with ThreadPoolExecutor(connections) as pool:
        try:
            list(pool.map(lambda run: _patiently(where, lambda: save(run), run.__len__), runs))
        finally:
            for run in runs:  # after an error, each thread stops after the clip at hand
                run.clear()
    if damaged:
        names = ", ".join(damaged[:3])
        raise FetchError(f"{where}: {len(damaged)} damaged clips were left out: {names}. {_AGAIN}")


def _patiently(where: str, work: Callable, left: Callable[[], int] = int, tries: int = 0):
    """Do `work` until it succeeds; the tries count anew whenever less is `left` to do."""
    failed, least = 0, float("inf")
    while True:
        try:
            return work()
        except _LOST as error:
            failed, least = failed + 1 if left() >= least else 1, min(least, left())
            reason = next((words for key, words in _WORDS.items() if key in str(error)), error)
            if "CERTIFICATE_VERIFY" in str(error):
                raise FetchError(f"{where}: {reason}. Verification stays on: {_BY_HAND}") from error
            if failed >= (tries or TRIES):
                raise FetchError(f"{where}: {reason}, {failed} times. {_AGAIN}") from error
            time.sleep(min(15, 2**failed / 4))


def _download(session: _Session, where: str, path: Path, progress: bool) -> None:
    """Get a whole file, or nothing of it."""
    with (
        atomic_write(path) as part,
        session.get(where, stream=True, timeout=TIMEOUT) as reply,
        open(part, "wb") as file,
        tqdm.wrapattr(file, "write", total=int(session.version[0]), disable=not progress) as sink,
    ):
        for chunk in reply.iter_content(1 << 18):
            sink.write(chunk)


def _opened(path: Path) -> zipfile.ZipFile | None:
    """A zip of this disk; None if it is none, or its directory is damaged."""
    with contextlib.suppress(OSError, *_NO_ZIP):
        return zipfile.ZipFile(path)


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack a tar, or with a program of this machine a rar, into `folder`."""
    with contextlib.suppress(*_DAMAGED), tarfile.open(path) as tar:
        if not hasattr(tarfile, "data_filter"):
            raise FetchError(f"to unpack {path} safely, Python 3.10.12, 3.11.4 or newer is needed")
        tar.extractall(folder, filter="data")
        return folder
    tools = {
        "unar": ("-quiet", "-force-overwrite", "-no-directory", "-o", folder, path),
        "bsdtar": ("-x", "-f", path, "-C", folder),
        "unrar": ("x", "-o+", "-idq", path, f"{folder}/"),
    }  # Debian builds 7-Zip without rar, so it comes last
    tools |= dict.fromkeys(("7zz", "7z"), ("x", "-y", f"-o{folder}", path))
    cause = "no program here reads a rar"
    if tool := next(filter(shutil.which, tools), None):
        run = subprocess.run([tool, *tools[tool]], stdin=subprocess.DEVNULL, capture_output=True)
        if run.returncode == 0:
            return folder
        cause = f"{tool} says: {(run.stdout + run.stderr).decode(errors='replace')[-200:]}"
    raise FetchError(
        f"{path} is no whole zip or tar, and {cause}. For a rar: apt, dnf or brew install unar, or "
        "winget install 7zip.7zip. A file cut short, or a web page: delete it and get it again"
    )


class _Session(requests.Session):
    """For one file. Every answer is looked at, and TLS is always verified."""

    version: tuple[str, str | None] | None = None  # size and ETag of the file

    def send(self, request: requests.PreparedRequest, **options) -> requests.Response:
        """Refuse an answer that is no part of the file, or part of another version of it."""
        request.headers["Accept-Encoding"] = "identity"  # a range of the file itself
        reply, url = super().send(request, **options), request.url.partition("?")[0]
        code, head = reply.status_code, reply.headers
        if code in (429, 500, 502, 503, 504):
            raise requests.ConnectionError(f"the server is busy or out of order (HTTP {code})")
        if not reply.is_redirect:
            if code not in (200, 206):
                raise FetchError(f"{url} answers HTTP {code} {reply.reason}: {_BY_HAND}")
            if head.get("Content-Type", "").startswith("text/html"):
                raise FetchError(f"{url} is a web page, not an archive: {_BY_HAND}")
            size = (head.get("Content-Range") or head.get("Content-Length", "0")).rpartition("/")[2]
            version = size, head.get("ETag")
            self.version = self.version or version
            if version != self.version:
                raise FetchError(f"{url} has just been replaced by another file. {_AGAIN}")
        return reply
