"""FrameStore: the JPEG frames and flow of a set of clips, read in place by clip and number.

They lie in a folder of zips (one per class, or of all classes, whole or in parts `x.zip.001`, …),
in one zip or in folders: `jpegs_256/<clip>/frame000001.jpg`, `tvl1_flow/u/…`, `tvl1_flow/v/…`.
"""

import glob
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, groupby
from pathlib import Path

import cv2
import numpy as np

from .files import atomic_write
from .splits import other_spelling, parse_name

FOLDERS = "jpegs_256", "tvl1_flow/u", "tvl1_flow/v"
_MODES = cv2.IMREAD_COLOR_RGB, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_GRAYSCALE
_MEMBER = re.compile(rf"({'|'.join(FOLDERS)})/[^/]+/frame\d{{6}}\.jpg")
_PLACE = [("number", "<i4"), ("archive", "<i2"), ("offset", "<i8"), ("size", "<u4"),
          ("method", "<u2"), ("crc", "<u4")]  # fmt: skip


class StoreError(ValueError):
    """Frames that are missing or cannot be read; the message names the file and the way out."""


class FrameStore:
    """Frames and flow fields of all clips under `root`, numbered from 1.

    Picklable, safe in threads and DataLoader workers. Where frames lie is kept in
    `.frame_index.npz` until names, sizes or times change. `clips` are sorted; `labels`, `groups`
    and `sides` ("train", "val" or "test") come from `clips.json` or names v_<Class>_gNN_cMM.
    `cache_gb` (1e9 bytes) of decoded clips stay in memory, in each process. Raises StoreError: no
    frames, a zip that is damaged or lacks a part.
    """

    def __init__(self, root: str | os.PathLike, cache_gb: float = 0.0) -> None:
        self.root = Path(root)
        self._archives = [Archive(paths) for paths in find_archives(self.root)]
        self._frames, self._clips = _load_index(self.root, self._archives)
        self.clips = list(self._clips)
        self.labels = {clip: info["label"] for clip, info in self._clips.items() if info["label"]}
        self.groups = {clip: self._clips[clip]["group"] for clip in self.labels}
        self.sides = {c: i["side"] for c, i in self._clips.items() if i.get("side")}
        self._clips |= {other_spelling(clip) or clip: self._clips[clip] for clip in self.clips}
        self._cache: dict[tuple[str, bool], np.ndarray] = {}
        self._cache_left = int(cache_gb * 1e9)

    def __getstate__(self) -> dict:
        room = self._cache_left + sum(clip.nbytes for clip in self._cache.values())
        return {**self.__dict__, "_cache": {}, "_cache_left": room}

    def n_frames(self, clip: str) -> int:
        """Number of RGB frames."""
        return len(self._places(clip, 0))

    def n_flow(self, clip: str) -> int:
        """Number of flow fields: one fewer than frames, but see `flow_every`; 0 without flow."""
        return len(self._places(clip, 1))

    def flow_every(self, clip: str) -> int:
        """1, or N where only the fields 1, 1 + N, 1 + 2 N, … were extracted (`--every N`)."""
        return self._info(clip)["every"]

    def flow_algorithm(self, clip: str) -> str | None:
        """Which of `flow.ALGORITHMS` made the clip's flow; None where its archive does not say."""
        return self._info(clip)["flow"]

    def flow_numbers(self, clip: str) -> np.ndarray:
        """Numbers of the fields that there are, int64; field k leads from frame k to k + 1."""
        return np.arange(self.n_flow(clip)) * self.flow_every(clip) + 1

    def label(self, clip: str) -> str:
        """Class name of the clip."""
        return self._info(clip, labelled=True)["label"]

    def group(self, clip: str) -> str:
        """Group of the clip: whoever or whatever it shares with other clips."""
        return self._info(clip, labelled=True)["group"]

    def regroup(self, groups: Mapping[str, str]) -> None:
        """Give clips other groups than their shards say; `groups` maps clip to group."""
        self.groups |= groups
        for clip, group in groups.items():
            self._info(clip)["group"] = group

    def size(self, clip: str) -> tuple[int, int]:
        """Height and width of the clip's frames in px, read from its first frame."""
        if (info := self._info(clip))["size"] is None:
            self.check(clip, False)
            info["size"] = next(self._decode(clip, [0], flow=False)).shape[:2]
        return info["size"]

    def rgb(self, clip: str, i: int) -> np.ndarray:
        """Frame `i` (1-based), `(H, W, 3)` uint8 RGB."""
        return self.read_rgb(clip, [i])[0]

    def flow(self, clip: str, i: int) -> np.ndarray:
        """Quantised flow from frame `i` to `i + 1`, `(H, W, 2)` uint8 (u, v); see `flow.decode`."""
        return self.read_flow(clip, [i])[0]

    def read_rgb(self, clip: str, indices: Iterable[int]) -> np.ndarray:
        """Frames of one clip, `(T, H, W, 3)` uint8 RGB; for order and errors see `images`."""
        return np.stack(list(self.images(clip, indices)))

    def read_flow(self, clip: str, indices: Iterable[int]) -> np.ndarray:
        """Quantised flow fields of one clip, `(T, H, W, 2)` uint8 (u, v); otherwise the same."""
        fields = np.stack([np.asarray(pair) for pair in self.images(clip, indices, flow=True)])
        return np.ascontiguousarray(fields.transpose(0, 2, 3, 1))

    def images(self, clip: str, indices: Iterable[int], flow: bool = False) -> Iterator:
        """Decode frames `(H, W, 3)`, or pairs u, v, each `(H, W)`, uint8, in order of `indices`.

        Read them only. IndexError: no such number; StoreError: unknown, damaged or missing.
        """
        self.check(clip, flow)
        n, every = len(self._places(clip, int(flow))), self.flow_every(clip) if flow else 1
        numbers = np.asarray(list(indices), np.int64)
        places, off = np.divmod(numbers - 1, every)
        if (wrong := numbers[(places < 0) | (places >= n) | (off != 0)]).size:
            there = f"1 to {(n - 1) * every + 1}" + f" in steps of {every}" * (every > 1)
            what = "flow field" if flow else "frame"
            raise IndexError(f"clip {clip} has no {what} {wrong[0]}: they are numbered {there}")
        if self._cache_left > 0 and (clip, flow) not in self._cache:
            whole = np.stack([np.asarray(i) for i in self._decode(clip, range(n), flow)])
            if whole.nbytes <= self._cache_left:
                self._cache[clip, flow] = whole
            self._cache_left = max(0, self._cache_left - whole.nbytes)
        whole, places = self._cache.get((clip, flow)), places.tolist()
        return self._decode(clip, places, flow) if whole is None else (whole[p] for p in places)

    def check(self, clip: str, *flow: bool) -> None:
        """Raise StoreError unless the clip has all frames (False) and fields (True) it should."""
        for which in flow or (False, True):
            if fault := self._info(clip)["faults"][which]:
                raise StoreError(f"clip {clip} under {self.root} {fault}: extract it with "
                                 "data_scripts/extract.py, or fetch it again")  # fmt: skip

    def fingerprint(self, clips: Iterable[str] | None = None) -> str:
        """Sixteen hex digits: names, labels, groups, counts, sizes and checksums of `clips`."""
        names = sorted(self._info(c)["name"] for c in (self.clips if clips is None else clips))
        texts = [[clip, self.labels.get(clip, ""), self.groups.get(clip, "")] for clip in names]
        places = [self._places(clip, kind) for clip in names for kind in range(3)]
        digest = hashlib.sha256(json.dumps(texts).encode())
        digest.update(np.array([len(some) for some in places], np.int32))
        for some in places:
            digest.update(some["size"].tobytes() + some["crc"].tobytes())
        return digest.hexdigest()[:16]

    def _info(self, clip: str, labelled: bool = False) -> dict:
        if clip not in self._clips:
            raise StoreError(f"no clip {clip!r} under {self.root}, which has {len(self.clips)}")
        if labelled and not self._clips[clip]["label"]:
            raise StoreError(f"clip {clip} under {self.root} has no entry in a clips.json and no "
                             "name v_<Class>_gNN_cMM: make shards with extract.py")  # fmt: skip
        return self._clips[clip]

    def _places(self, clip: str, kind: int) -> np.ndarray:
        return self._frames[slice(*self._info(clip)["rows"][kind : kind + 2])]

    def _decode(self, clip: str, places: Sequence[int], flow: bool) -> Iterator:
        folders, kinds, shape = self._info(clip)["folders"], (1, 2) if flow else (0,), None
        # Flow that was kept smaller is enlarged to its frames, in whose px its values are.
        whole = self.size(clip)[::-1] if flow and self._info(clip).get("scale") else None
        for some in zip(*(self._places(clip, kind)[places].tolist() for kind in kinds)):
            images = []
            for kind, (number, archive, *where) in zip(kinds, some):
                name = f"{folders[kind]}/frame{number:06d}.jpg"
                archive = self._archives[archive] if archive >= 0 else None
                try:
                    data = archive.member(*where) if archive else (self.root / name).read_bytes()
                    # Without the end marker the decoder would fill up with grey and say nothing.
                    image = cv2.imdecode(np.frombuffer(data or b"-", np.uint8), _MODES[kind])
                    if image is None or not (data.endswith(b"\xff\xd9") or b"\xff\xd9" in data):
                        raise ValueError(f"corrupt JPEG ({len(data)} bytes)")
                    if image.shape != (shape := shape or image.shape):
                        raise ValueError(f"its size {image.shape} is not {shape}")
                except (OSError, ValueError, zlib.error) as error:
                    parts = archive.parts if archive else [(self.root, 0, 1)]
                    at = next((path for path, _, end in parts if where[0] < end), parts[-1][0])
                    way_out = "Delete that file and make it again, or leave the clip out"
                    raise StoreError(f"{name} in {at}: {error}. {way_out}") from error
                images.append(cv2.resize(image, whole) if whole else image)
            yield images if flow else images[0]


class Archive:
    """A zip, in one file or in parts, as one file: for `zipfile`, and for reads by offset."""

    def __init__(self, paths: Sequence[Path]) -> None:
        ends = [0, *accumulate(path.stat().st_size for path in paths)]
        self.parts, self.length = [*zip(paths, ends, ends[1:])], ends[-1]
        self._files, self._at = [], 0

    def __reduce__(self):
        return Archive, ([path for path, *_ in self.parts],)

    def seek(self, offset: int, whence: int = 0) -> None:
        self._at = offset + (0, self._at, self.length)[whence]

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self.read_at(self.length if size < 0 else size, self._at)
        self._at += len(data)
        return data

    def read_at(self, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`, fewer at the end; for any thread, and after a fork too."""
        if hasattr(os, "pread") and not self._files:
            self._files = [open(path, "rb", buffering=0) for path, *_ in self.parts]
        data = b""
        for number, (path, start, end) in enumerate(self.parts):
            if start <= offset < end and size > 0:
                place, length = offset - start, min(size, end - offset)
                if self._files:
                    some = os.pread(self._files[number].fileno(), length, place)
                else:  # Windows: threads share a file's position, and nobody replaces an open file
                    with open(path, "rb", buffering=0) as file:
                        file.seek(place)
                        some = file.read(length)
                data, size, offset = data + some, size - len(some), offset + len(some)
        return data

    def member(self, offset: int, size: int, method: int, crc: int) -> bytes:
        """The unpacked bytes of the member whose header is at `offset`; ValueError if damaged."""
        # The header repeats the name and has an extra field whose length the directory lacks.
        block = self.read_at(30 + 512 + size, offset).ljust(30, b"\0")
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or block[6] & 1:
            raise ValueError("it is encrypted, or packed in another way than by deflate")
        start = 30 + block[26] + block[28] + 256 * (block[27] + block[29])
        if len(block) < start + size:
            block = self.read_at(start + size, offset)
        data = block[start : start + size]
        data = zlib.decompress(data, -15) if method == zipfile.ZIP_DEFLATED else data
        if block[:4] != b"PK\3\4" or zlib.crc32(data) != crc:
            raise ValueError("its checksum is wrong: it is damaged, cut short or was changed")
        return data


def find_archives(root: Path) -> list[list[Path]]:
    """The zips in folder `root`, or the one that `root` names; each as its files in order."""
    name = re.sub(r"\.\d{3}$", "", root.name)
    if root.is_file() and name == root.name:
        return [[root]]
    found: dict[str, list[Path]] = {}
    some = root.iterdir() if root.is_dir() else root.parent.glob(f"{glob.escape(name)}.*")
    for path in sorted(some):  # beside an x.zip macOS leaves a ._x.zip
        if (match := re.fullmatch(r"(?i)([^.].*\.zip\.?)(\d{3})?", path.name)) and path.is_file():
            found.setdefault(match[1], []).append(path)
    return list(found.values())


def _load_index(root: Path, archives: Sequence[Archive]) -> tuple[np.ndarray, dict]:
    """Where all frames lie and what is known of each clip: as it was kept, if that still holds."""
    if any((root / folder).is_dir() for folder in FOLDERS):
        return _build_index(root, archives)  # a folder does not tell whether its files have changed
    files = [path for archive in archives for path, *_ in archive.parts]
    key = repr([_PLACE, *((f.name, (s := f.stat()).st_size, s.st_mtime_ns) for f in files)])
    kept = [root / ".frame_index.npz" if root.is_dir() else Path(f"{root}.frame_index.npz")]
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(user):  # the user has a home
        digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        kept.append(Path(user, "twostream_utils", f"{digest}.frame_index.npz"))
    for path in kept:
        with suppress(Exception), np.load(path) as file:  # damaged in any way, it is made anew
            if file["key"] == key:
                return file["frames"], json.loads(str(file["clips"]))
    frames, clips = _build_index(root, archives)
    for path in kept:
        with suppress(OSError), atomic_write(path) as part, open(part, "wb") as file:
            np.savez(file, key=key, frames=frames, clips=json.dumps(clips))
            break
    return frames, clips


def _build_index(root: Path, archives: Sequence[Archive]) -> tuple[np.ndarray, dict]:
    found, entries = {}, {}  # folder of a clip → its frames; clip → what a clips.json says
    for number, archive in (*enumerate(archives), (-1, None)):
        try:
            if archive:
                members = {m.filename: (m.header_offset, m.compress_size, m.compress_type, m.CRC)
                           for m in zipfile.ZipFile(archive).infolist()}  # fmt: skip
                shift = min((place[0] for place in members.values()), default=0)
                if shift < 0 or (shift and len(archive.parts) > 1):
                    raise ValueError("before its directory there are bytes too few or too many")
                if "clips.json" in members:
                    entries |= json.loads(archive.member(*members["clips.json"]))
            else:
                names = (glob.iglob(f"{folder}/*/frame*.jpg", root_dir=root) for folder in FOLDERS)
                members = {n.replace(os.sep, "/"): (0, 0, 0, 0) for some in names for n in some}
                if (root / "clips.json").is_file():
                    entries |= json.loads((root / "clips.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
            parts = archive.parts if archive else [(root / "clips.json", 0, 0)]
            names = ", ".join(f"{path} ({end - at:,} bytes)" for path, at, end in parts)
            raise StoreError(f"cannot read {names}: {error}. Extract or fetch again what is "
                             "damaged, missing or cut short") from error  # fmt: skip
        names = sorted(filter(_MEMBER.fullmatch, members))
        for folder, some in groupby(names, lambda name: name[:-16]):
            if folder in found:
                one = archives[found[folder]["archive"][0]].parts[0][0]
                other = archive.parts[0][0] if archive else root
                raise StoreError(f"{folder} is there twice, in {one} and {other}: keep one")
            rows = [(int(name[-10:-4]), number, *members[name]) for name in some]
            found[folder] = np.array(rows, _PLACE)
    if not found:
        raise StoreError(f"no frames {FOLDERS[0]}/<clip>/frame000001.jpg in {root}: `make run` "
                         "makes the mini set; data_scripts/extract.py shards")  # fmt: skip
    folders: dict[str, list[str]] = {}
    for folder in sorted(found):
        kind, clip = folder.rsplit("/", 1)
        if (twin := other_spelling(clip)) in folders:
            if f"{kind}/{twin}" in found:
                raise StoreError(f"{folder} is there twice, also as {twin}, in {root}: keep one")
            clip = twin
        folders.setdefault(clip, [f"{k}/{clip}" for k in FOLDERS])[FOLDERS.index(kind)] = folder
    frames, clips, at = [], {}, 0
    for clip in sorted(folders):
        entry = {k: v for k, v in entries.get(clip, {}).items() if v}
        with suppress(ValueError):
            entry = parse_name(clip)._asdict() | entry
        every, n, faults, rows = int(entry.get("flow_every", 1)), 0, ["", ""], [at]
        for kind, folder in enumerate(folders[clip]):
            places = found.get(folder, np.empty(0, _PLACE))
            step, n = (every, n) if kind else (1, len(places))
            due = range(1, n if kind and n else max(1, len(places)) * step + 1, step)
            n = due.stop if kind else n  # without frames, v has as many fields as u
            if wrong := sorted({*due} ^ {*places["number"].tolist()}):
                faults[kind > 0] = f"lacks {folder}/frame{wrong[0]:06d}.jpg, or has it in excess"
            frames.append(places)
            rows.append(at := at + len(places))
        clips[clip] = {"name": clip, "folders": folders[clip], "rows": rows, "every": every,
                       "label": entry.get("label", ""), "group": entry.get("group", clip),
                       "flow": entry.get("flow"), "side": entry.get("side"), "size": None,
                       "scale": entry.get("flow_scale"), "faults": faults}  # fmt: skip
    return np.concatenate(frames), clips
