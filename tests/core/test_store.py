"""The one reader of frames and flow: every form of the layout, and what may be wrong with it."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import psutil
import pytest
from conftest import moving_frames
from torch.utils.data import DataLoader, Dataset

from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.flow import decode
from twostream_utils.store import Archive, FrameStore, StoreError

CLIP, OTHER, THIRD = "v_YoYo_g01_c01", "v_YoYo_g02_c01", "v_PullUps_g01_c01"
RGB, U, V = f"jpegs_256/{CLIP}", f"tvl1_flow/u/{CLIP}", f"tvl1_flow/v/{CLIP}"
STRAYS = [  # what published archives hold beside frames
    f"{RGB}/TSP_flows", f"{U}.bin", f"{RGB}/TSP_flows/frame000001.jpg", "jpegs_256/Thumbs.db",
    f"{RGB}/frame7.jpg",
]  # fmt: skip
FORMS = pytest.mark.parametrize("form", ["zip", "tree", "parts"])


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Two shards of two clips each: 6 and 9 frames of 48x64."""
    root = tmp_path_factory.mktemp("shards")
    for c, label in enumerate(("PullUps", "YoYo")):
        with ShardWriter(root / f"{label}.zip") as shard:
            for group, n in ((1, 6), (2, 9)):
                name = f"v_{label}_g{group:02d}_c01"
                meta = {"label": label, "group": f"g{group:02d}", "frames": n, "flow": "dis"}
                frames = moving_frames(n, seed=5 * c + group)
                shard.add(encode_clip(name, frames), {name: meta})
    return root


def members(root):
    found = {}
    for path in sorted(root.glob("*.zip")):
        with zipfile.ZipFile(path) as file:
            found |= {n: file.read(n) for n in file.namelist() if n.endswith(".jpg")}
    return found


def write_zip(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def cut(path, lengths):
    """Cut a file into `<name>.001`, `.002`, … of these lengths and a rest; the file goes."""
    data, bounds = path.read_bytes(), [0, *np.cumsum(lengths)]
    parts = [path.with_name(f"{path.name}.{k + 1:03d}") for k in range(len(bounds))]
    for part, start, end in zip(parts, bounds, [*bounds[1:], len(data)]):
        part.write_bytes(data[start:end])
    path.unlink()
    return parts


def write(root, form, files, method=zipfile.ZIP_STORED):
    """The files as one zip, a folder tree, or RGB and flow each in a zip of three parts."""
    root.mkdir(parents=True, exist_ok=True)
    if form == "zip":
        write_zip(root / "all.zip", files, method)
    elif form == "tree":
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
    else:
        files = {**dict.fromkeys(STRAYS, b"stray"), **files}
        for name in "jpegs_256", "tvl1_flow":
            if some := {n: d for n, d in files.items() if n.startswith(name)}:
                path = write_zip(root / f"ucf101_{name}.zip", some, method)
                cut(path, [path.stat().st_size * 2 // 5] * 2)
                (root / f"._{path.name}.001").write_bytes(b"left by macOS")
    return root


# Reading


@pytest.mark.parametrize(
    "form",
    ["zip", "deflated", "tree", "streamed", "zip64", "parts", "deflated parts",
     "parts of 64-bit zips", "PARTS[1].ZIP", "a part named"],
)  # fmt: skip
def test_all_forms_hold_the_same(shards, tmp_path, monkeypatch, form):
    files, root = members(shards), tmp_path / "data"
    method = zipfile.ZIP_DEFLATED if "deflated" in form else zipfile.ZIP_STORED
    if "64" in form:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    root = write(root, next((f for f in ("tree", "parts") if f in form), "zip"), files, method)
    if form == "tree":
        write(root, "tree", {f"{U}.bin": b"", f"{RGB}/TSP_flows/frame000001.jpg": b""})
    if form in ("PARTS[1].ZIP", "a part named"):
        part = cut((root / "all.zip").rename(root / "UCF[1].ZIP"), [10_000])[1]
        root = part if form == "a part named" else root
    if form == "streamed":  # sizes stand behind the data, not in the local headers
        with open(root / "all.zip", "wb") as raw:
            pipe = type("Pipe", (), {"write": raw.write, "flush": raw.flush})()
            with zipfile.ZipFile(pipe, "w") as file:
                for name, data in files.items():
                    file.writestr(name, data)
    one, other = FrameStore(shards), FrameStore(root)
    assert one.clips == other.clips == sorted(one.clips) and len(one.clips) == 4
    assert one.labels == other.labels and one.groups == other.groups
    for clip in one.clips:
        n = one.n_frames(clip)
        assert (n, n - 1) == (other.n_frames(clip), other.n_flow(clip))
        for read, last in ("read_rgb", n), ("read_flow", n - 1):
            numbers = range(1, last + 1)
            same = getattr(one, read)(clip, numbers), getattr(other, read)(clip, numbers)
            assert np.array_equal(*same)


def test_what_is_read_is_what_was_written(shards):
    store = FrameStore(shards)
    frames = moving_frames(6, seed=6)
    assert (store.n_frames(CLIP), store.n_flow(CLIP)) == (6, 5)
    assert (store.label(CLIP), store.group(CLIP)) == ("YoYo", "g01")
    assert store.size(CLIP) == (48, 64)
    read = store.read_rgb(CLIP, range(1, 7))
    assert read.shape == (6, 48, 64, 3) and read.dtype == np.uint8
    # Red and blue in their places, and every frame at its number.
    assert np.abs(read.astype(int) - frames).mean() < 6
    assert np.abs(read[..., ::-1].astype(int) - frames).mean() > 20
    flow = store.read_flow(CLIP, range(1, 6))
    assert flow.shape == (5, 48, 64, 2) and flow.dtype == np.uint8
    median = np.median(decode(flow)[:, 8:-8, 8:-8], axis=(0, 1, 2))
    assert median == pytest.approx([2, 1], abs=0.25)
    # Order and repeats of the indices.
    assert np.array_equal(store.read_rgb(CLIP, [5, 1, 5]), read[[4, 0, 4]])
    assert np.array_equal(store.read_flow(CLIP, np.array([2, 2]))[1], flow[1])
    assert np.array_equal(store.rgb(CLIP, np.int64(2)), read[1])


@pytest.mark.parametrize("i", [0, -1, 7])
def test_index_out_of_range(shards, i):
    store = FrameStore(shards)
    with pytest.raises(IndexError, match=rf"{CLIP} has no frame {i}: .* 1 to 6"):
        store.rgb(CLIP, i)
    with pytest.raises(IndexError, match=rf"{CLIP} has no flow field {i or 6}: .* 1 to 5"):
        store.read_flow(CLIP, [1, i or 6])
    with pytest.raises(StoreError, match="v_Nobody"):
        store.rgb("v_Nobody", 1)
    with pytest.raises(ValueError):
        store.read_rgb(CLIP, [])


def test_fingerprint_follows_from_the_frames(shards, tmp_path):
    """Checkpoints carry it: its digits must not change with the code."""
    files = {f"{RGB}/frame000001.jpg": b"one", f"{RGB}/frame000002.jpg": b"two"}
    files |= {f"{U}/frame000001.jpg": b"u", f"{V}/frame000001.jpg": b"v"}
    store = FrameStore(write(tmp_path / "small", "zip", files))
    assert store.fingerprint() == "ca4c7cf1dbe7c2dc"
    files, store = members(shards), FrameStore(shards)
    assert FrameStore(write(tmp_path / "b", "zip", files)).fingerprint() == store.fingerprint()
    files[f"{RGB}/frame000001.jpg"] = files[f"{RGB}/frame000002.jpg"]
    changed = FrameStore(write(tmp_path / "c", "zip", files))
    assert changed.fingerprint() != store.fingerprint()
    assert changed.fingerprint([OTHER]) == store.fingerprint([OTHER])


def test_a_store_of_flow_alone(shards, tmp_path):
    files = {n: d for n, d in members(shards).items() if n.startswith("tvl1")}
    store = FrameStore(write(tmp_path, "zip", files))
    assert store.flow(CLIP, 5).shape == (48, 64, 2)
    with pytest.raises(StoreError, match=f"{CLIP} .* lacks {RGB}/frame000001.jpg"):
        store.size(CLIP)


VIDEO, FRAMES = "v_HandStandPushups_g01_c01", "v_HandstandPushups_g01_c01"


@pytest.mark.parametrize("rgb, flow", [(VIDEO, VIDEO), (FRAMES, FRAMES), (VIDEO, FRAMES)])
@pytest.mark.parametrize("form", ["parts", "tree"])
def test_both_spellings_of_handstand(shards, tmp_path, rgb, flow, form):
    files = {
        name.replace(CLIP, rgb if name.startswith("jpegs") else flow): data
        for name, data in members(shards).items() if CLIP in name
    }  # fmt: skip
    store, original = FrameStore(write(tmp_path, form, files)), FrameStore(shards)
    assert store.clips == [rgb] and store.labels == {rgb: "HandstandPushups"}
    for name in (VIDEO, FRAMES):
        assert (store.label(name), store.group(name)) == ("HandstandPushups", "g01")
        assert np.array_equal(store.rgb(name, 6), original.rgb(CLIP, 6))
        assert np.array_equal(store.flow(name, 5), original.flow(CLIP, 5))
    files |= {name.replace(rgb, FRAMES if rgb == VIDEO else VIDEO): d for name, d in files.items()}
    with pytest.raises(StoreError, match="is there twice, also as v_Hand.*keep one"):
        FrameStore(write(tmp_path / "both", form, files))


# Processes, threads, memory


class Frames(Dataset):
    def __init__(self, store):
        self.store = store
        self.items = [(c, i) for c in store.clips for i in range(1, store.n_flow(c) + 1)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        clip, i = self.items[index]
        return self.store.rgb(clip, i), self.store.flow(clip, i), os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("cache_gb", [0, 1])
def test_forked_workers_read_what_the_parent_has_open(shards, tmp_path, cache_gb):
    frames = Frames(FrameStore(write(tmp_path, "parts", members(shards)), cache_gb))
    expected = [frames[k] for k in range(len(frames))]
    loader = DataLoader(frames, batch_size=None, num_workers=2, multiprocessing_context="fork")
    pids = set()
    for (rgb, flow, pid), (rgb_here, flow_here, _) in zip(loader, expected, strict=True):
        assert np.array_equal(rgb, rgb_here) and np.array_equal(flow, flow_here)
        pids.add(pid)
    assert len(pids) == 2 and os.getpid() not in pids


@pytest.mark.parametrize("pread", [True, False])
def test_threads_read_across_the_seams_of_parts(tmp_path, monkeypatch, pread):
    if not pread:  # as on Windows
        monkeypatch.delattr(os, "pread", raising=False)
    data = np.random.default_rng(0).integers(256, size=1000, dtype=np.uint8).tobytes()
    (tmp_path / "x.zip").write_bytes(data)
    archive = Archive(cut(tmp_path / "x.zip", [10, 300, 1, 200]))
    spans = [(1000, 0), (2, 9), (3, 309), (50, 990), (5, 1000), (5, 1200), (0, 10)]
    spans += np.random.default_rng(1).integers(1000, size=(500, 2)).tolist()
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda span: archive.read_at(*span), spans))
    assert read == [data[start : start + size] for size, start in spans]


def test_without_pread_no_archive_stays_open(shards, tmp_path, monkeypatch):
    """As on Windows, where a shard that is read could not be made anew."""
    root = shutil.copytree(shards, tmp_path / "copy")
    monkeypatch.delattr(os, "pread", raising=False)
    frame = FrameStore(root).rgb(CLIP, 1)
    opened = [file.path for file in psutil.Process().open_files()]
    assert frame.any() and not [path for path in opened if path.startswith(str(root))]


def test_a_pickled_store_leaves_decoded_clips_behind(shards, tmp_path):
    """Parts it has open, too: workers that are spawned get it this way."""
    store = FrameStore(write(tmp_path, "parts", members(shards)), cache_gb=1)
    before = len(pickle.dumps(store))
    frame = store.rgb(CLIP, 1)
    pickled = pickle.dumps(store)
    assert len(pickled) < before + 100
    assert np.array_equal(pickle.loads(pickled).rgb(CLIP, 1), frame)


def test_cache_serves_without_the_disk_up_to_its_limit(shards, tmp_path):
    root = shutil.copytree(shards, tmp_path / "copy")
    # Room for the 6 frames of one clip and not for the 9 of the other.
    store = FrameStore(root, cache_gb=7 * 48 * 64 * 3 / 1e9)
    before = store.read_rgb(CLIP, [1, 2, 3])
    store.read_rgb(OTHER, [1])
    for path in root.glob("*.zip"):
        os.truncate(path, 0)
    assert np.array_equal(store.read_rgb(CLIP, [1, 2, 3]), before)
    with pytest.raises(StoreError, match=OTHER):
        store.read_rgb(OTHER, [1])
    with pytest.raises(StoreError, match=CLIP):
        store.read_flow(CLIP, [1])
    store.read_rgb(CLIP, [1])[:] = 0  # what is handed out is a copy
    assert np.array_equal(store.read_rgb(CLIP, [1, 2, 3]), before)


# What may be wrong


SMALL = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize("how", ["cut", "empty", "text", "another size"])
@FORMS
def test_a_frame_that_cannot_be_used_is_named(shards, tmp_path, form, how):
    files, place = members(shards), re.escape(str(tmp_path))
    for name in (f"{RGB}/frame000003.jpg", f"{V}/frame000002.jpg"):
        broken = {"cut": files[name][: len(files[name]) // 2], "empty": b"", "text": b"no picture"}
        files[name] = broken.get(how, SMALL)
    words = r"its size \(20, 30" if how == "another size" else "corrupt JPEG"
    store = FrameStore(write(tmp_path / "data", form, files))
    store.read_rgb(CLIP, [1, 2, 4])
    with pytest.raises(StoreError, match=rf"{RGB}/frame000003.jpg in {place}.*: .*{words}"):
        store.read_rgb(CLIP, [1, 2, 3])
    store.flow(CLIP, 1)
    with pytest.raises(StoreError, match=rf"{V}/frame000002.jpg in {place}.*: .*{words}"):
        store.flow(CLIP, 2)


@pytest.mark.parametrize("damaged", [f"{RGB}/frame000002.jpg", "clips.json"])
@pytest.mark.parametrize(("field", "value"), [(42, 0x7FFF), (10, 300), (10, 12), (42, None)])
def test_a_damaged_directory_is_a_store_error(shards, tmp_path, damaged, field, value):
    """Where a member begins (on 42; None: just before the end) or how it is packed (on 10)."""
    path = write(tmp_path, "zip", members(shards)) / "all.zip"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("clips.json", "{}")
    data = bytearray(path.read_bytes())
    entry = data.rindex(damaged.encode()) - 46
    value, size = (len(data) - 5, 4) if value is None else (value, 2)
    at, size = (entry + field, size) if field != 42 or size == 4 else (entry + field + 2, size)
    data[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(data)
    with pytest.raises(StoreError, match="all.zip"):
        FrameStore(path).rgb(CLIP, 2)


def test_one_flipped_bit_is_noticed_and_named_with_its_part(shards, tmp_path):
    path = write(tmp_path, "zip", members(shards)) / "all.zip"
    with zipfile.ZipFile(path) as file:
        at = file.getinfo(f"{RGB}/frame000002.jpg")
    data = bytearray(path.read_bytes())
    data[at.header_offset + 30 + len(at.filename) + at.file_size // 2] ^= 1
    path.write_bytes(data)
    part = re.escape(str(cut(path, [at.header_offset])[1]))
    store = FrameStore(tmp_path)
    store.rgb(CLIP, 1)
    with pytest.raises(StoreError, match=f"frame000002.jpg in {part}: its checksum .*Delete"):
        store.rgb(CLIP, 2)


@FORMS
@pytest.mark.parametrize("instead", [None, 0])
def test_gaps_and_a_numbering_from_zero_are_named(shards, tmp_path, form, instead):
    files = members(shards)
    for folder, number in (RGB, 4), (U, 2), (V, 2):
        frame = files.pop(f"{folder}/frame{number:06d}.jpg")
        if instead is not None:
            files[f"{folder}/frame{instead:06d}.jpg"] = frame
    store = FrameStore(write(tmp_path, form, files))
    with pytest.raises(StoreError, match=f"{CLIP} .* {RGB}/frame00000[04].jpg"):
        store.rgb(CLIP, 1)
    with pytest.raises(StoreError, match=f"{CLIP} .* {V}/frame00000[02].jpg"):
        store.flow(CLIP, 1)
    store.check(OTHER)


@FORMS
def test_flow_that_does_not_fit(shards, tmp_path, form):
    files = members(shards)
    del files[f"{V}/frame000005.jpg"]
    for axis in "uv":
        del files[f"tvl1_flow/{axis}/{OTHER}/frame000008.jpg"]
    files = {n: d for n, d in files.items() if "tvl1" not in n or THIRD not in n}
    store = FrameStore(write(tmp_path, form, files))
    for clip, number in {CLIP: 5, OTHER: 8, THIRD: 1}.items():
        store.rgb(clip, 1)
        for refused in store.check, lambda clip: store.flow(clip, 1):
            with pytest.raises(StoreError, match=rf"lacks \S+/{clip}/frame00000{number}.*extract"):
                refused(clip)
    assert store.n_flow(THIRD) == 0


def test_missing_and_empty_roots(tmp_path):
    for root in tmp_path / "nowhere", tmp_path, write_zip(tmp_path / "other.zip", {"a.txt": b""}):
        place = re.escape(str(root))
        with pytest.raises(StoreError, match=f"no frames .* {place}: `make run`.*extract.py"):
            FrameStore(root)


def test_clip_without_a_known_label(shards, tmp_path):
    files = {n.replace(CLIP, "holiday"): d for n, d in members(shards).items()}
    store = FrameStore(write(tmp_path / "zip", "zip", files))
    assert store.rgb("holiday", 1).shape == (48, 64, 3)
    assert "holiday" not in store.labels
    with pytest.raises(StoreError, match="holiday .*clips.json"):
        store.label("holiday")
    files["clips.json"] = json.dumps({"holiday": {"label": "beach", "group": "us"}}).encode()
    for form in "tree", "zip":
        store = FrameStore(write(tmp_path / form, form, files))
        assert (store.label("holiday"), store.group("holiday")) == ("beach", "us")


@pytest.mark.parametrize("keep", [(0, 0), (0, 0.5), (0, 0.999), (0, 0.1, 0.2, 1)])
def test_a_zip_that_lacks_its_end_or_its_middle(shards, tmp_path, keep):
    root = shutil.copytree(shards, tmp_path / "copy")
    data = (root / "YoYo.zip").read_bytes()
    at = [int(share * len(data)) for share in keep]
    (root / "YoYo.zip").write_bytes(b"".join(data[a:b] for a, b in zip(at[::2], at[1::2])))
    with pytest.raises(StoreError, match=r"YoYo\.zip \(.*Extract or fetch again"):
        FrameStore(root)


@pytest.mark.parametrize("k", [0, 1, 2, -1])
@pytest.mark.parametrize("size", [None, 0, 1, 1999, 12000])
def test_a_part_that_is_missing_or_of_a_wrong_size(shards, tmp_path, k, size):
    files = {n: d for n, d in members(shards).items() if n.startswith("jpegs")}
    parts = cut(write_zip(tmp_path / "rgb.zip", files), [9000, 9000, 9000])
    parts[k].unlink() if size is None else os.truncate(parts[k], size)
    for root in tmp_path, tmp_path / "rgb.zip":
        with pytest.raises(StoreError, match="rgb.zip.*Extract or fetch again") as error:
            FrameStore(root)
        assert all(f"{part} (" in str(error.value) for part in parts if part.exists())


def test_the_same_clip_twice(shards, tmp_path):
    root = shutil.copytree(shards, tmp_path / "copy")
    shutil.copy(root / "YoYo.zip", root / "again.zip")
    with pytest.raises(StoreError, match=rf"{RGB} is there twice"):
        FrameStore(root)
    (root / "again.zip").unlink()
    data = (root / "YoYo.zip").read_bytes()
    cut(root / "YoYo.zip", [50_000])
    (root / "YoYo.zip").write_bytes(data)  # joined, and its parts still beside it
    with pytest.raises(StoreError, match=r"twice"):
        FrameStore(root)
    assert len(FrameStore(root / "YoYo.zip").clips) == 2


# The index that is kept


def blank(path):
    """Nothing but zeros, of the same size and time: what is known now is known from the index."""
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_index_is_reused_and_renewed(shards, tmp_path):
    root = shutil.copytree(shards, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    fresh, kept = FrameStore(root), root / ".frame_index.npz"
    again = FrameStore(root)
    assert again.clips == fresh.clips and again.labels == fresh.labels
    assert np.array_equal(again.flow(CLIP, 5), fresh.flow(CLIP, 5))
    blank(root / "PullUps.zip")
    assert FrameStore(root).clips == fresh.clips
    os.utime(root / "PullUps.zip")
    with pytest.raises(StoreError, match="PullUps.zip"):
        FrameStore(root)
    (root / "PullUps.zip").unlink()
    with ShardWriter(root / "YoYo.zip") as shard:
        shard.add(encode_clip(CLIP, moving_frames(4)), {CLIP: {"label": "YoYo", "group": "g01"}})
    assert FrameStore(root).clips == [CLIP] and FrameStore(root).n_frames(CLIP) == 4
    whole = kept.read_bytes()
    for damage in whole[:-100], b"hello" * 99, b"", whole[:500] + b"xxxx" + whole[504:]:
        kept.write_bytes(damage)
        assert FrameStore(root).clips == [CLIP]
    assert kept.read_bytes() == whole and not list(root.glob("*partial"))


@pytest.mark.parametrize("home", [True, False])
def test_index_where_the_data_is_read_only(shards, tmp_path, monkeypatch, home):
    """It goes to the user's cache, if there is one; a store can be read without a home."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    expanded = str(tmp_path / "cache") if home else "~/.cache"
    monkeypatch.setattr(os.path, "expanduser", lambda path: expanded)
    monkeypatch.chdir(tmp_path)
    root = shutil.copytree(shards, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    # A folder of the index's name cannot be replaced by a file, whoever runs the test.
    (root / ".frame_index.npz").mkdir()
    assert len(FrameStore(root).clips) == len(FrameStore(root).clips) == 4
    assert len(list(tmp_path.rglob("*.frame_index.npz"))) == (2 if home else 1)
    if home:
        blank(root / "YoYo.zip")
        assert len(FrameStore(root).clips) == 4
