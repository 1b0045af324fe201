"""Archives in parts, the mapped index, both spellings, and five million entries."""

from __future__ import annotations

import mmap
import os
import pickle
import struct

import numpy as np
import pytest
from test_store import (  # noqa: F401
    CLIP,
    cut,
    members,
    shards,
    write_archives,
    write_tree,
    write_zip,
)

from twostream_utils.archives import Archive, ArchiveError
from twostream_utils.parts import PartedFile
from twostream_utils.store import FrameStore, StoreError


def test_reads_across_the_seams(tmp_path):
    data = np.random.default_rng(0).integers(256, size=1000, dtype=np.uint8).tobytes()
    (tmp_path / "x.zip").write_bytes(data)
    file = PartedFile(cut(tmp_path / "x.zip", [10, 300, 1, 200]))
    assert file.length == 1000
    rng = np.random.default_rng(1)
    for start, size in [(0, 1000), (9, 2), (309, 3), (990, 50), (1000, 5), (1200, 5), (10, 0)] + [
        rng.integers(1000, size=2).tolist() for _ in range(200)
    ]:
        assert file.read(size, start) == data[start : start + size]
    assert file.place(309) == (tmp_path / "x.zip.002", 299)
    assert file.place(310) == (tmp_path / "x.zip.003", 0)


def test_parts_are_opened_when_read_and_anew_in_each_process(tmp_path):
    (tmp_path / "x.zip").write_bytes(bytes(range(100)))
    file = PartedFile(cut(tmp_path / "x.zip", [50]))
    file.read(10, 0)
    assert list(file._files) == [0]
    mine = file._files[0].fileno()
    assert pickle.loads(pickle.dumps(file)).read(2, 49) == bytes([49, 50])
    if hasattr(os, "fork"):
        tell, told = os.pipe()
        if (child := os.fork()) == 0:
            same = file.read(3, 60) == bytes([60, 61, 62]) and file.read(1, 0) == b"\0"
            os.write(told, struct.pack("?i", same, file._files[0].fileno()))
            os._exit(0)
        os.waitpid(child, 0)
        same, theirs = struct.unpack("?i", os.read(tell, 100))
        assert same and theirs != mine
    file.close()
    assert file.read(1, 99) == bytes([99])


def test_the_last_member_is_found_from_the_end(tmp_path):
    """The mark of an entry may also stand in a name: this one looks like a whole entry."""
    path = tmp_path / "x.zip"
    for last in ("dataset.json", "aPK\1\2" + 50 * "x"):
        write_zip(path, {"first": b"1", last: b"22"})
        archive = Archive(path)
        assert [archive.last_member()] == list(archive.directory())[-1:]
        assert archive.read_member(archive.last_member()[1]) == b"22"
        archive.close()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"PK\1\2", b"PK\1\3"))
    with pytest.raises(ArchiveError, match="directory is damaged"):
        Archive(path).last_member()


# What may be wrong with the parts


@pytest.fixture
def parts(shards, tmp_path):  # noqa: F811
    """The RGB of four clips in parts of 9,000 bytes, and what part 4, the last one, has."""
    files = {n: d for n, d in members(shards).items() if n.startswith("jpegs")}
    path = write_zip(tmp_path / "rgb.zip", files)
    found = cut(path, [9000] * (path.stat().st_size // 9000))
    assert len(found) > 3
    return found


@pytest.mark.parametrize("k", [0, 1, 2])
def test_missing_part_is_named_with_its_size(parts, k):
    parts[k].unlink()
    with pytest.raises(StoreError, match=rf"{parts[k].name} is missing; it should have 9,000 byt"):
        FrameStore(parts[0].parent)


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 8999, 12000])
def test_part_of_a_wrong_size_is_named_with_its_size(parts, k, size):
    os.truncate(parts[k], size)
    message = rf"{parts[k].name} has {size:,} bytes; it should have 9,000"
    with pytest.raises(StoreError, match=message) as error:
        FrameStore(parts[0].parent)
    assert "Fetch that part again" in str(error.value)
    assert not any(f"{part.name} has" in str(error.value) for part in parts if part != parts[k])


def test_the_only_other_part_is_short(shards, tmp_path):  # noqa: F811
    """With two parts there is no equal to compare with: the zip's directory tells."""
    path = write_zip(tmp_path / "all.zip", members(shards))
    first, _ = cut(path, [50_000])
    os.truncate(first, 40_000)
    with pytest.raises(StoreError, match=r"all.zip.001 has 40,000 bytes; it should have 50,000"):
        FrameStore(tmp_path)
    first.unlink()
    with pytest.raises(StoreError, match=r"all.zip.001 is missing; it should have 50,000 bytes"):
        FrameStore(tmp_path)


def test_last_part_missing_or_short(parts):
    last = parts[-1]
    size = last.stat().st_size
    os.truncate(last, size - 1)
    with pytest.raises(StoreError, match=rf"{last.name} has {size - 1:,} bytes .*is cut short"):
        FrameStore(last.parent)
    last.unlink()
    with pytest.raises(StoreError, match=rf"{last.name} is missing.*have 9,000 bytes, or fewer"):
        FrameStore(last.parent)
    parts[1].unlink()
    with pytest.raises(StoreError, match=rf"{parts[1].name} is missing; it should have 9,000"):
        FrameStore(last.parent)


def test_first_part_alone(shards, tmp_path):  # noqa: F811
    parts = cut(write_zip(tmp_path / "all.zip", members(shards)), [50_000])
    parts[1].unlink()
    for root in (tmp_path, parts[0], tmp_path / "all.zip"):
        with pytest.raises(StoreError, match=r"all.zip.002 is missing"):
            FrameStore(root)


def test_damaged_member_is_named_with_its_part(parts):
    data = bytearray(parts[1].read_bytes())
    data[4500:5500] = bytes(1000)
    parts[1].write_bytes(data)
    store = FrameStore(parts[0].parent)
    errors = []
    for clip in store.clips:
        for i in range(1, store.n_frames(clip) + 1):
            try:
                store.rgb(clip, i)
            except StoreError as error:
                errors.append(str(error))
    assert errors and all(str(parts[1]) in e or str(parts[0]) in e for e in errors)
    assert any(str(parts[1]) in e for e in errors)


def test_zip_in_several_disks(shards, tmp_path):  # noqa: F811
    path = write_zip(tmp_path / "all.zip", members(shards))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\5\6") + 4] = 2
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"\.z01.*zip -s 0 all.zip"):
        list(Archive(path).directory())


def test_what_macos_leaves_beside_an_archive_is_no_archive(shards, tmp_path):  # noqa: F811
    root = write_archives(tmp_path / "data", members(shards))
    for name in "._ucf101_jpegs_256.zip.001", "._YoYo.zip":
        (root / name).write_bytes(b"\0\5\x16\7")
    assert FrameStore(root).clips == FrameStore(shards).clips


def test_joined_zip_beside_its_parts(shards, tmp_path):  # noqa: F811
    path = write_zip(tmp_path / "all.zip", members(shards))
    data = path.read_bytes()
    cut(path, [50_000])
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"twice: in .*all\.zip and in .*all\.zip\.001"):
        FrameStore(tmp_path)
    assert len(FrameStore(path).clips) == 4


# Both spellings

VIDEO, FRAMES = "v_HandStandPushups_g01_c01", "v_HandstandPushups_g01_c01"


@pytest.mark.parametrize("rgb, flow", [(VIDEO, VIDEO), (FRAMES, FRAMES), (VIDEO, FRAMES)])
@pytest.mark.parametrize("form", ["parts", "tree"])
def test_both_spellings_of_handstand(shards, tmp_path, rgb, flow, form):  # noqa: F811
    files = {}
    for name, data in members(shards).items():
        if CLIP in name:
            files[name.replace(CLIP, rgb if name.startswith("jpegs") else flow)] = data
    store = FrameStore((write_archives if form == "parts" else write_tree)(tmp_path / "x", files))
    assert store.clips == [rgb] and store.labels == {rgb: "HandstandPushups"}
    original = FrameStore(shards)
    for name in (VIDEO, FRAMES):
        assert (store.label(name), store.group(name)) == ("HandstandPushups", "g01")
        assert np.array_equal(store.rgb(name, 6), original.rgb(CLIP, 6))
        assert np.array_equal(store.flow(name, 5), original.flow(CLIP, 5))


# The index


def mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def test_index_is_mapped_and_not_copied_into_workers(shards, tmp_path):  # noqa: F811
    root = write_archives(tmp_path / "archives", members(shards))
    for store in (FrameStore(root), FrameStore(root), pickle.loads(pickle.dumps(FrameStore(root)))):
        for name in ("start", "count", "gap", "every", "archive", "offset", "size", "crc"):
            assert mapped(getattr(store._index, name)), name
            with pytest.raises(ValueError, match="read-only"):
                getattr(store._index, name)[0] = 1
    pickled = pickle.dumps(FrameStore(root))
    (root / ".frame_index").unlink()
    with pytest.raises(StoreError, match="open the store again"):
        pickle.loads(pickled)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_index_is_made_anew(shards, tmp_path, damage):  # noqa: F811
    root = write_archives(tmp_path / "archives", members(shards))
    clips = FrameStore(root).clips
    path = root / ".frame_index"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-100], "text": b"hello" * 99, "empty": b""}[damage])
    assert FrameStore(root).clips == clips
    assert path.read_bytes() == whole


def test_index_pickles_without_a_cache_too(shards, tmp_path):  # noqa: F811
    store = FrameStore(write_tree(tmp_path / "tree", members(shards)))
    assert np.array_equal(pickle.loads(pickle.dumps(store)).rgb(CLIP, 3), store.rgb(CLIP, 3))
