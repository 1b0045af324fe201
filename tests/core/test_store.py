from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import moving_frames
from torch.utils.data import DataLoader, Dataset

from twostream_utils import frame_index
from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.flow import decode
from twostream_utils.store import FrameStore, StoreError

CLIP = "v_YoYo_g01_c01"
RGB = f"jpegs_256/{CLIP}"
U = f"tvl1_flow/u/{CLIP}"
V = f"tvl1_flow/v/{CLIP}"
STRAYS = [
    f"jpegs_256/{CLIP}/TSP_flows",
    f"tvl1_flow/u/{CLIP}.bin",
    f"jpegs_256/{CLIP}/TSP_flows/frame000001.jpg",
    "jpegs_256/Thumbs.db",
    f"jpegs_256/{CLIP}/frame7.jpg",
]


@pytest.fixture(scope="session", params=["shards", "archives in parts"])
def data(request, shards, tmp_path_factory):
    """The same four clips in both forms that UCF101 comes in."""
    if request.param == "shards":
        return shards
    return write_archives(tmp_path_factory.mktemp("archives"), members(shards))


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Two shards of two clips each: 6 and 9 frames of 48x64."""
    root = tmp_path_factory.mktemp("shards")
    for c, label in enumerate(("PullUps", "YoYo")):
        with ShardWriter(root / f"{label}.zip") as shard:
            for group, n in ((1, 6), (2, 9)):
                name = f"v_{label}_g{group:02d}_c01"
                shard.add(
                    encode_clip(name, moving_frames(n, seed=5 * c + group)),
                    {name: {"label": label, "group": f"g{group:02d}", "frames": n}},
                )
    return root


def members(root):
    found = {}
    for path in sorted(root.glob("*.zip")):
        with zipfile.ZipFile(path) as file:
            found.update({n: file.read(n) for n in file.namelist() if n.endswith(".jpg")})
    return found


def write_zip(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def cut(path, lengths):
    """Cut a file into `<name>.001`, `.002`, … of these lengths and a rest; the file goes."""
    data = path.read_bytes()
    bounds = [0, *np.cumsum(lengths), len(data)]
    parts = [path.with_name(f"{path.name}.{k:03d}") for k in range(1, len(bounds))]
    for part, start, end in zip(parts, bounds, bounds[1:]):
        part.write_bytes(data[start:end])
    path.unlink()
    return parts


def write_archives(root, files, method=zipfile.ZIP_STORED):
    """The layout of the published archives: RGB and flow each in a zip of three parts, strays."""
    root.mkdir(parents=True, exist_ok=True)
    files = {**dict.fromkeys(STRAYS, b"stray"), **files}
    for name, start in (("ucf101_jpegs_256.zip", "jpegs"), ("ucf101_tvl1_flow.zip", "tvl1")):
        if some := {n: d for n, d in files.items() if n.startswith(start)}:
            path = write_zip(root / name, some, method)
            cut(path, [path.stat().st_size * 2 // 5] * 2)
    return root


def write_form(root, form, files):
    """The same files as a zip, a folder tree, or archives in parts."""
    root.mkdir(parents=True, exist_ok=True)
    if form == "zip":
        return write_zip(root / "all.zip", files).parent
    return write_tree(root, files) if form == "tree" else write_archives(root, files)


def write_tree(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def streamed_zip(path, files):
    """A zip written to a pipe: sizes stand behind the data, not in the local headers."""

    class Pipe:
        def __init__(self, file):
            self.write, self.flush = file.write, file.flush

    with open(path, "wb") as raw, zipfile.ZipFile(Pipe(raw), "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


FORMS = ["one zip", "deflated", "tree", "streamed", "prefixed", "rgb and flow zips", "zip64"]
FORMS += ["parts", "deflated parts", "parts of 64-bit zips", "a single part named"]


@pytest.fixture(params=FORMS)
def other_form(request, shards, tmp_path, monkeypatch):
    files = members(shards)
    if "64" in request.param:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    if "parts" in request.param:
        deflated = "deflated" in request.param
        method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
        return write_archives(tmp_path / "archives", files, method)
    if request.param == "a single part named":
        return cut(write_zip(tmp_path / "all.zip", files), [10_000])[1]
    files.update(dict.fromkeys(STRAYS, b"stray") if request.param != "tree" else {})
    if request.param in ("one zip", "zip64"):
        return write_zip(tmp_path / "all.zip", files)
    if request.param == "deflated":
        return write_zip(tmp_path / "all.zip", files, zipfile.ZIP_DEFLATED)
    if request.param == "streamed":
        return streamed_zip(tmp_path / "all.zip", files)
    if request.param == "prefixed":
        path = write_zip(tmp_path / "all.zip", files)
        path.write_bytes(b"x" * 1000 + path.read_bytes())
        return path
    if request.param == "tree":
        (tmp_path / "tree" / U).mkdir(parents=True)
        (tmp_path / "tree" / f"{U}.bin").write_bytes(b"stray")
        (tmp_path / "tree" / RGB / "TSP_flows").mkdir(parents=True)
        return write_tree(tmp_path / "tree", files)
    write_zip(tmp_path / "rgb.zip", {n: d for n, d in files.items() if n.startswith("jpegs")})
    write_zip(tmp_path / "flow.zip", {n: d for n, d in files.items() if n.startswith("tvl1")})
    return tmp_path


def test_all_forms_hold_the_same(shards, other_form):
    one, other = FrameStore(shards), FrameStore(other_form)
    assert one.clips == other.clips == sorted(one.clips) and len(one.clips) == 4
    assert one.labels == other.labels and one.groups == other.groups
    for clip in one.clips:
        n = one.n_frames(clip)
        assert (n, n - 1) == (other.n_frames(clip), other.n_flow(clip))
        assert np.array_equal(
            one.read_rgb(clip, range(1, n + 1)), other.read_rgb(clip, range(1, n + 1))
        )
        assert np.array_equal(one.read_flow(clip, range(1, n)), other.read_flow(clip, range(1, n)))


def test_what_is_read_is_what_was_written(data):
    store = FrameStore(data)
    frames = moving_frames(6, seed=6)
    assert (store.n_frames(CLIP), store.n_flow(CLIP)) == (6, 5)
    assert (store.label(CLIP), store.group(CLIP)) == ("YoYo", "g01")
    read = store.read_rgb(CLIP, range(1, 7))
    assert read.shape == (6, 48, 64, 3) and read.dtype == np.uint8
    # Red and blue in their places, and every frame at its number.
    assert np.abs(read.astype(int) - frames).mean() < 6
    assert np.abs(read[..., ::-1].astype(int) - frames).mean() > 20
    flow = store.read_flow(CLIP, range(1, 6))
    assert flow.shape == (5, 48, 64, 2) and flow.dtype == np.uint8
    median = np.median(decode(flow)[:, 8:-8, 8:-8], axis=(0, 1, 2))
    assert median == pytest.approx([2, 1], abs=0.25)


def test_size_and_fingerprint(shards, tmp_path):
    store = FrameStore(shards)
    assert store.size(CLIP) == (48, 64)
    files = members(shards)
    same = FrameStore(write_zip(tmp_path / "same.zip", files, zipfile.ZIP_STORED))
    assert store.fingerprint() == same.fingerprint()
    files[f"{RGB}/frame000001.jpg"] = files[f"{RGB}/frame000002.jpg"]
    changed = FrameStore(write_zip(tmp_path / "changed.zip", files))
    assert store.fingerprint() != changed.fingerprint()
    flow_only = {n: d for n, d in files.items() if n.startswith("tvl1")}
    store = FrameStore(write_zip(tmp_path / "flow.zip", flow_only))
    assert store.flow(CLIP, 5).shape == (48, 64, 2)
    with pytest.raises(StoreError, match=f"{CLIP} has flow but no RGB"):
        store.size(CLIP)


def test_order_and_repeats_of_indices(data):
    store = FrameStore(data)
    read = store.read_rgb(CLIP, [5, 1, 5])
    assert np.array_equal(read, [store.rgb(CLIP, 5), store.rgb(CLIP, 1), store.rgb(CLIP, 5)])
    assert np.array_equal(store.read_flow(CLIP, np.array([2, 2]))[1], store.flow(CLIP, 2))
    assert store.rgb(CLIP, np.int64(2)).shape == (48, 64, 3)


@pytest.mark.parametrize("i", [0, -1, 7])
def test_index_out_of_range(data, i):
    store = FrameStore(data)
    with pytest.raises(IndexError, match=rf"{CLIP} has no frame {i}: .* 1 to 6"):
        store.rgb(CLIP, i)
    with pytest.raises(IndexError, match=rf"{CLIP} has no flow field {i or 6}: .* 1 to 5"):
        store.read_flow(CLIP, [1, i or 6])
    with pytest.raises(StoreError, match="v_Nobody"):
        store.rgb("v_Nobody", 1)
    with pytest.raises(ValueError, match="no indices"):
        store.read_rgb(CLIP, [])


class Frames(Dataset):
    def __init__(self, store):
        self.store = store
        self.items = [(c, i) for c in store.clips for i in range(1, store.n_flow(c) + 1)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        clip, i = self.items[index]
        return self.store.rgb(clip, i), self.store.flow(clip, i), os.getpid()


@pytest.mark.parametrize("context, cache_gb", [("fork", 0), ("fork", 1), ("spawn", 1)])
def test_dataloader_workers(data, context, cache_gb):
    if context == "fork" and not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    frames = Frames(FrameStore(data, cache_gb))
    expected = [frames[k] for k in range(len(frames))]  # the parent has its files open by now
    loader = DataLoader(
        frames, batch_size=1, shuffle=False, num_workers=2, multiprocessing_context=context
    )
    pids = set()
    for (rgb, flow, pid), (rgb_here, flow_here, _) in zip(loader, expected, strict=True):
        assert np.array_equal(rgb[0].numpy(), rgb_here)
        assert np.array_equal(flow[0].numpy(), flow_here)
        pids.add(int(pid))
    assert len(pids) == 2 and os.getpid() not in pids


def test_pickle_leaves_the_decoded_clips_behind(data):
    store = FrameStore(data, cache_gb=1)
    store.rgb(CLIP, 1)
    pickled = pickle.dumps(store)
    assert len(pickled) < 10_000
    assert np.array_equal(pickle.loads(pickled).rgb(CLIP, 1), store.rgb(CLIP, 1))


def test_cache_serves_without_the_disk_up_to_its_limit(shards, tmp_path):
    root = shutil.copytree(shards, tmp_path / "copy")
    first, second = "v_PullUps_g01_c01", "v_PullUps_g02_c01"
    # Room for the 6 frames of the first clip and not for the 9 of the second.
    store = FrameStore(root, cache_gb=7 * 48 * 64 * 3 / 1e9)
    before = store.read_rgb(first, [1, 2, 3])
    store.read_rgb(second, [1])
    store.close()
    store = FrameStore(root, cache_gb=7 * 48 * 64 * 3 / 1e9)
    store.read_rgb(first, [3])
    store.read_rgb(second, [1])
    for path in root.glob("*.zip"):
        os.truncate(path, 0)
    assert np.array_equal(store.read_rgb(first, [1, 2, 3]), before)
    with pytest.raises(StoreError, match=second):
        store.read_rgb(second, [1])
    with pytest.raises(StoreError, match=first):
        store.read_flow(first, [1])
    mine = store.read_rgb(first, [1])
    mine[:] = 0  # what is handed out is a copy
    assert np.array_equal(store.read_rgb(first, [1, 2, 3]), before)


def break_jpeg(data, how):
    if how == "cut":
        return data[: len(data) // 2]
    if how == "empty":
        return b""
    return b"no picture at all"


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
@pytest.mark.parametrize("form", ["zip", "tree", "parts"])
def test_corrupt_jpeg_is_named(shards, tmp_path, form, how, capfd):
    files = members(shards)
    for name in (f"{RGB}/frame000003.jpg", f"{V}/frame000002.jpg"):
        files[name] = break_jpeg(files[name], how)
    root = write_form(tmp_path / "data", form, files)
    store = FrameStore(root)
    store.read_rgb(CLIP, [1, 2, 4])
    with pytest.raises(StoreError, match=rf"{CLIP}, frame 3: corrupt JPEG .*{root}"):
        store.read_rgb(CLIP, [1, 2, 3])
    store.flow(CLIP, 1)
    with pytest.raises(StoreError, match=rf"{CLIP}, v field 2: corrupt JPEG .*{root}"):
        store.flow(CLIP, 2)


def test_one_flipped_bit_is_noticed(shards, tmp_path):
    path = write_zip(tmp_path / "all.zip", members(shards))
    with zipfile.ZipFile(path) as file:
        at = file.getinfo(f"{RGB}/frame000002.jpg")
    data = bytearray(path.read_bytes())
    data[at.header_offset + 30 + len(at.filename) + at.file_size // 2] ^= 1
    path.write_bytes(data)
    store = FrameStore(path)
    store.rgb(CLIP, 1)
    with pytest.raises(StoreError, match=rf"{CLIP}, frame 2: its checksum is wrong.*all.zip"):
        store.rgb(CLIP, 2)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_truncated_zip(shards, tmp_path, keep):
    root = shutil.copytree(shards, tmp_path / "copy")
    path = root / "YoYo.zip"
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(StoreError, match=r"YoYo\.zip cannot be read: .*cut short"):
        FrameStore(root)


def test_text_file_named_zip(tmp_path):
    (tmp_path / "a.zip").write_text("hello")
    with pytest.raises(StoreError, match=r"a\.zip cannot be read.*no zip"):
        FrameStore(tmp_path)


@pytest.mark.parametrize("form", ["zip", "tree", "parts"])
def test_gap_is_named(shards, tmp_path, form):
    files = members(shards)
    for name in (f"{RGB}/frame000004.jpg", f"{U}/frame000002.jpg", f"{V}/frame000002.jpg"):
        del files[name]
    store = FrameStore(write_form(tmp_path / "data", form, files))
    with pytest.raises(StoreError, match=rf"{CLIP}, frame 4: it is missing"):
        store.rgb(CLIP, 1)
    with pytest.raises(StoreError, match=rf"{CLIP}, u field 2: it is missing"):
        store.flow(CLIP, 1)
    store.rgb("v_YoYo_g02_c01", 9)


@pytest.mark.parametrize("form", ["zip", "tree", "parts"])
def test_numbering_from_zero_is_a_gap(shards, tmp_path, form):
    files = {n.replace("frame000006", "frame000000"): d for n, d in members(shards).items()}
    store = FrameStore(write_form(tmp_path / "data", form, files))
    with pytest.raises(StoreError, match=rf"{CLIP}, frame"):
        store.rgb(CLIP, 1)


@pytest.mark.parametrize("form", ["zip", "tree", "parts"])
def test_flow_that_does_not_fit(shards, tmp_path, form):
    files = members(shards)
    other, third = "v_YoYo_g02_c01", "v_PullUps_g01_c01"
    del files[f"{V}/frame000005.jpg"]
    for axis in "uv":
        del files[f"tvl1_flow/{axis}/{other}/frame000008.jpg"]
    files = {n: d for n, d in files.items() if "tvl1" not in n or third not in n}
    store = FrameStore(write_form(tmp_path / "data", form, files))
    for clip in (CLIP, other, third):
        store.rgb(clip, 1)
    with pytest.raises(StoreError, match=f"{CLIP} has 6 frames, 5 u and 4 v"):
        store.flow(CLIP, 1)
    with pytest.raises(StoreError, match=f"{other} has 9 frames, 7 u and 7 v"):
        store.flow(other, 1)
    assert store.n_flow(third) == 0
    with pytest.raises(StoreError, match=f"{third} has no flow"):
        store.flow(third, 1)


@pytest.mark.parametrize("form", ["zip", "tree", "parts"])
def test_frames_of_two_sizes_in_one_clip(shards, tmp_path, form):
    files = members(shards)
    files[f"{RGB}/frame000002.jpg"] = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[
        1
    ].tobytes()
    store = FrameStore(write_form(tmp_path / "data", form, files))
    with pytest.raises(StoreError, match=rf"{CLIP}, frame 2: its size \(20, 30, 3\)"):
        store.read_rgb(CLIP, [1, 2])


def test_missing_and_empty_roots(tmp_path):
    with pytest.raises(StoreError, match="no data at .*nowhere.*extract.py"):
        FrameStore(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="neither zips nor"):
        FrameStore(tmp_path)
    write_zip(tmp_path / "other.zip", {"readme.txt": b""})
    with pytest.raises(StoreError, match="holds no frames of the form"):
        FrameStore(tmp_path)


def test_same_clip_in_two_zips(shards, tmp_path):
    root = shutil.copytree(shards, tmp_path / "copy")
    shutil.copy(root / "YoYo.zip", root / "again.zip")
    with pytest.raises(StoreError, match=r"v_YoYo_g01_c01, frame 1 .*YoYo.zip.*again.zip"):
        FrameStore(root)


def test_clip_without_a_known_label(shards, tmp_path):
    files = {n.replace(CLIP, "holiday"): d for n, d in members(shards).items()}
    store = FrameStore(write_zip(tmp_path / "all.zip", files))
    assert store.rgb("holiday", 1).shape == (48, 64, 3)
    assert "holiday" not in store.labels
    with pytest.raises(StoreError, match="holiday .*clips.json"):
        store.label("holiday")
    write_tree(tmp_path / "tree", files)
    entry = {"holiday": {"label": "beach", "group": "us"}}
    (tmp_path / "tree" / "clips.json").write_text(json.dumps(entry))
    store = FrameStore(tmp_path / "tree")
    assert (store.label("holiday"), store.group("holiday")) == ("beach", "us")


@pytest.fixture
def count_builds(monkeypatch):
    """How often the index was really built (it still is; this only counts)."""
    calls = []
    build = frame_index._build
    monkeypatch.setattr(frame_index, "_build", lambda *args: calls.append(args) or build(*args))
    return calls


def test_index_is_reused_and_renewed(shards, tmp_path, count_builds):
    root = shutil.copytree(shards, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    fresh = FrameStore(root)
    assert len(count_builds) == 1 and (root / ".frame_index").is_file()
    again = FrameStore(root)
    assert len(count_builds) == 1
    assert again.clips == fresh.clips and again.labels == fresh.labels
    assert np.array_equal(again.flow(CLIP, 5), fresh.flow(CLIP, 5))
    with ShardWriter(root / "YoYo.zip") as shard:
        shard.add(encode_clip(CLIP, moving_frames(4)), {CLIP: {"label": "YoYo", "group": "g01"}})
    assert FrameStore(root).n_frames(CLIP) == 4 and len(count_builds) == 2
    (root / "PullUps.zip").unlink()
    assert FrameStore(root).clips == [CLIP] and len(count_builds) == 3
    (root / ".frame_index").write_bytes(b"broken")
    assert FrameStore(root).clips == [CLIP] and len(count_builds) == 4
    assert not list(root.glob(".*partial"))


def test_index_goes_to_the_users_cache_where_the_data_is_read_only(
    shards, tmp_path, count_builds, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = shutil.copytree(shards, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    # A folder of the index's name cannot be replaced by a file, whoever runs the test.
    (root / ".frame_index").mkdir()
    FrameStore(root)
    assert len(list((tmp_path / "cache").rglob("*.frame_index"))) == 1
    FrameStore(root)
    assert len(count_builds) == 1


def test_index_goes_to_the_users_cache_where_files_beside_the_data_cannot_be_mapped(
    shards, tmp_path, count_builds, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = shutil.copytree(shards, tmp_path / "copy", ignore=shutil.ignore_patterns(".*"))
    map_arrays = frame_index.map_arrays

    def only_elsewhere(path):
        if path.parent == root:
            raise OSError("no such operation on this network drive")
        return map_arrays(path)

    monkeypatch.setattr(frame_index, "map_arrays", only_elsewhere)
    assert FrameStore(root)._index.mapped_from and FrameStore(root)._index.mapped_from
    assert len(count_builds) == 1


def test_index_is_compact(shards):
    index = FrameStore(shards)._index
    arrays = [index.archive, index.offset, index.size, index.method, index.crc]
    assert sum(a.itemsize for a in arrays) == 19
    assert all(a.shape == (30 + 2 * 26,) for a in arrays)


def test_zip_with_more_than_65535_members(tmp_path):
    """Past 65,535 members the directory is in zip64 form."""
    data = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    files = {f"jpegs_256/v_YoYo_g01_c{c:02d}/frame{i:06d}.jpg": data
             for c in range(1, 8) for i in range(1, 10_001)}  # fmt: skip
    path = write_zip(tmp_path / "big.zip", files)
    store = FrameStore(path)
    assert store.n_frames("v_YoYo_g01_c07") == 10_000
    assert store.rgb("v_YoYo_g01_c07", 10_000).shape == (16, 16, 3)


def test_real_clip(shared_data, tmp_path):
    from twostream_utils.data.extract import extract

    if not (shared_data / "ucf101_clips").is_dir():
        pytest.skip(f"real clips not found at {shared_data / 'ucf101_clips'}")
    shortest = min((shared_data / "ucf101_clips").glob("*/*.avi"), key=lambda p: p.stat().st_size)
    source = tmp_path / "videos" / shortest.parent.name
    source.mkdir(parents=True)
    shutil.copy(shortest, source)
    extract(source.parent, tmp_path / "out", short_side=120, workers=1, progress=False)
    store = FrameStore(tmp_path / "out")
    clip = Path(shortest).stem
    assert store.clips == [clip]
    n = store.n_frames(clip)
    assert store.read_rgb(clip, [1, n]).shape == (2, 120, 160, 3)
    assert store.read_flow(clip, [1, n - 1]).shape == (2, 120, 160, 2)
