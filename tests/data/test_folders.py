"""Folders as people have them: other layouts, lists, names, containers, rates and damage."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import joblib
import numpy as np
import pytest
from conftest import moving_frames, read_video, texture, write_video
from test_extract import make

from twostream_utils.course import Course
from twostream_utils.data.extract import make_shards
from twostream_utils.data.lists import read_lists
from twostream_utils.data.video import (
    VideoError,
    common_rate,
    measure_pace,
    open_video,
    paced,
)
from twostream_utils.flow import decode
from twostream_utils.lab import start
from twostream_utils.lab.sources import open_source
from twostream_utils.profiles import get_profile
from twostream_utils.store import FrameStore


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """As on a machine of one core: films of eight frames need no worker processes."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)


def encode(path, frames, rate=30, codec="mpeg4", times=None, form=None, **settings):
    """Write frames by PyAV; `times` are the frames' numbers at `rate`, and may leave some out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form) as file:
        stream = file.add_stream(codec, rate=rate, options=settings.pop("options", {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = settings.pop("pix_fmt", "yuv420p")
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for number, pixels in zip(times if times is not None else range(len(frames)), frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def walk(seconds, rate, speed=60):
    """A texture that moves `speed` px to the right per second, at `rate` frames per second."""
    canvas = texture(64, 96 + int(speed * seconds) + 2)
    starts = [int(speed * seconds) - round(speed * k / rate) for k in range(int(seconds * rate))]
    return np.stack([canvas[:, s : s + 96] for s in starts])


# Time


def test_variable_frame_rates_are_whole_and_evened_out_by_time_stamps(tmp_path):
    frames = walk(3, 30)
    numbers = [n for n in range(90) if n % 3 == 0 or n % 5 == 0]
    path = encode(tmp_path / "screen.webm", frames[numbers], codec="libvpx", times=numbers)
    pace = measure_pace(path)
    assert not pace.steady and pace.frames == 42
    assert len(read_video(path)[0]) == 42
    rate, even = open_video(path, 240, paced(pace, 30.0))
    even = np.stack(list(even))
    assert rate == 30 and len(even) == numbers[-1] + 1
    for number in 0, 3, 4, 8, 44:  # what is shown then: the last one that there was
        shown = max(n for n in numbers if n <= number)
        assert np.abs(even[number].astype(int) - frames[shown]).mean() < 8


def test_an_avi_with_repeated_frames_keeps_its_time(tmp_path):
    frames = walk(3, 30)
    path = encode(tmp_path / "holes.avi", frames[::3], times=range(0, 90, 3))
    pace = measure_pace(path)
    even = list(open_video(path, 240, paced(pace, 30.0))[1])
    assert len(even) == 88 and np.array_equal(even[0], even[2])
    assert not np.array_equal(even[2], even[3])


def test_one_motion_has_one_flow_at_25_50_and_60_frames_per_second(tmp_path):
    for rate in 25, 50, 60:
        write_video(tmp_path / "in" / "walk" / f"at{rate}.avi", walk(1.2, rate, 75), rate)
    write_video(tmp_path / "in" / "other" / "x.avi", moving_frames(), 25)
    report = make(tmp_path / "in", tmp_path / "out")
    assert (report.rate, report.fast) == (25.0, 2) and "2 of the videos" in report.lines()[-1]
    store = FrameStore(tmp_path / "out")
    for clip in "v_walk_at25", "v_walk_at50", "v_walk_at60":
        flow = decode(store.read_flow(clip, store.flow_numbers(clip)))
        assert np.median(flow[:, 16:-16, 16:-16, 0]) == pytest.approx(3, abs=0.35), clip
    assert len(make(tmp_path / "in", tmp_path / "out").reused) == 2
    kept = make(tmp_path / "in", tmp_path / "raw", rate=0)
    assert kept.fast == 0 and FrameStore(tmp_path / "raw").n_frames("v_walk_at60") == 72
    twelve = make(tmp_path / "in", tmp_path / "twelve", rate=12.5)
    assert twelve.frames < 0.6 * report.frames


def test_videos_that_are_much_slower_than_the_others_are_counted(tmp_path):
    for rate, name in (12, "slow"), (25, "usual"):
        write_video(tmp_path / "in" / "walk" / f"{name}.avi", walk(1.2, rate), rate)
    said = make(tmp_path / "in", tmp_path / "out").lines()
    assert "fewer than 20 frames per second: 1 of the videos" in said[-1]
    (tmp_path / "in" / "walk" / "usual.avi").unlink()
    assert make(tmp_path / "in", tmp_path / "out").lines() == []


def test_common_rates():
    assert common_rate([25, 29.97]) == common_rate([50, 30]) == common_rate([24, 60]) == 25
    assert common_rate([30, 60]) == common_rate([29.97]) == common_rate([15, 0]) == 30


def test_where_the_time_jumps_by_hours_a_frame_is_shown_for_a_minute(tmp_path):
    two = [encode(tmp_path / f"{k}.ts", moving_frames(30), 25, "mpeg2video",
                  times=range(180_000 * k, 180_000 * k + 30)) for k in range(2)]  # fmt: skip
    path = tmp_path / "recorder.ts"
    path.write_bytes(b"".join(one.read_bytes() for one in two))
    assert len(list(open_video(path, 48, paced(measure_pace(path), 25.0))[1])) == 1559


def test_a_file_that_counts_in_milliseconds_says_no_rate(tmp_path):
    """As browsers record; it isn't faster than the others."""
    times = [33 * k + k % 7 for k in range(30)]
    encode(tmp_path / "in/a/x.webm", walk(1, 30), 1000, "libvpx", times)
    write_video(tmp_path / "in" / "a" / "y.avi", walk(1, 30), 30)
    report = make(tmp_path / "in", tmp_path / "out")
    assert (report.rate, report.fast) == (30.0, 0)
    with pytest.raises(ValueError, match="itself a folder of videos"):
        make(tmp_path / "in/a", tmp_path / "out")


@pytest.mark.parametrize("codec, name", [("libx264", "a.mp4"), ("libvpx", "a.webm")])
def test_a_frame_that_cannot_be_decoded_ends_the_video(tmp_path, codec, name):
    """What follows may show its traces."""
    path = encode(tmp_path / name, moving_frames(60), codec=codec)
    with av.open(str(path)) as file:
        packet = bytes([p for p in file.demux(video=0) if p.size][30])
    path.write_bytes(path.read_bytes().replace(packet, bytes(len(packet))))
    with pytest.raises(VideoError, match="damaged or cut short: (28|30) of 60 frames"):
        read_video(path)


def test_a_cut_without_a_new_encoding_is_whole(tmp_path):
    """The edit list of an mp4 says where the clip starts in a longer row of packets."""
    whole, out = tmp_path / "long.mp4", tmp_path / "trimmed.mp4"
    encode(whole, walk(3, 30), options={"g": "300"})
    with av.open(str(whole)) as source, av.open(str(out), "w") as file:
        stream = file.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                packet.pts -= round(Fraction(1) / packet.time_base)
                packet.dts -= round(Fraction(1) / packet.time_base)
                file.mux(packet)
    assert len(read_video(out)[0]) == pytest.approx(60, abs=1)


def test_a_film_shorter_than_its_sound_is_whole_and_a_cut_one_is_not(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        video, sound = file.add_stream("mpeg4", rate=25), file.add_stream("aac", rate=48000)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        for pixels in moving_frames(50):
            file.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for k in range(200):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.rate, silence.pts = 48000, 1024 * k
            file.mux(sound.encode(silence))
        file.mux(video.encode())
        file.mux(sound.encode())
    assert len(read_video(path)[0]) == 50
    only = encode(tmp_path / "b.mkv", moving_frames(50), 25)
    os.truncate(only, only.stat().st_size // 2)
    with pytest.raises(VideoError, match=r"cut short: \d.\d of 2.0 seconds"):
        read_video(only)


# Pictures


@pytest.mark.parametrize("name, codec", [("cam.mp4", "libx264"), ("dvd.mpg", "mpeg2video")])
def test_interlaced_video_gives_the_frames_that_were_filmed(tmp_path, name, codec):
    films = walk(2, 50, 100)
    woven = films[::2].copy()
    woven[:, 1::2] = films[1::2, 1::2]
    flags = {"flags": "+ildct+ilme", **({"x264opts": "tff=1"} if codec == "libx264" else {})}
    path = tmp_path / "in" / "cam" / name
    encode(path, woven, 25, codec, options=flags, bit_rate=4_000_000)
    frames, _ = read_video(path)
    assert frames.shape == woven.shape
    assert np.abs(frames.astype(int) - films[::2]).mean() < 14  # half of the rows are missing
    make(tmp_path / "in", tmp_path / "out")
    store = FrameStore(tmp_path / "out")
    flow = decode(store.read_flow(store.clips[0], store.flow_numbers(store.clips[0])))
    assert np.median(flow[:, 16:-16, 16:-16, 0]) == pytest.approx(4, abs=0.4)


def test_pixels_that_are_not_square_are_stretched(tmp_path):
    path = encode(tmp_path / "a.mp4", moving_frames(5), sample_aspect_ratio=Fraction(2, 1))
    assert read_video(path)[0].shape == (5, 48, 128, 3)
    assert read_video(path, short_side=24)[0].shape == (5, 24, 64, 3)


@pytest.mark.parametrize("suffix, codec", [
    ("wmv", "wmv2"), ("flv", "flv1"), ("mts", "mpeg2video"), ("ts", "mpeg2video"), ("3gp", "mpeg4"),
    ("ogv", "libtheora"), ("mkv", "libaom-av1"), ("mp4", "libx265"), ("gif", "gif"),
])  # fmt: skip
def test_every_common_container_is_read(tmp_path, suffix, codec):
    settings = {"pix_fmt": "rgb8"} if codec == "gif" else {}
    if codec == "libaom-av1":
        settings["options"] = {"cpu-used": "8"}
    form = "mpegts" if suffix == "mts" else None
    try:
        encode(tmp_path / f"a.{suffix}", moving_frames(12), 25, codec, form=form, **settings)
    except (ValueError, av.FFmpegError) as error:
        pytest.skip(f"PyAV cannot write it here: {error}")
    assert read_video(tmp_path / f"a.{suffix}")[0].shape == (12, 48, 64, 3)


def test_a_still_video_is_refused_by_name(tmp_path):
    write_video(tmp_path / "in" / "a" / "still.avi", np.repeat(moving_frames(1), 9, axis=0))
    write_video(tmp_path / "in" / "a" / "moving.avi", moving_frames())
    report = make(tmp_path / "in", tmp_path / "out")
    ((name, reason),) = report.skipped
    assert name == "a/still.avi" and reason.startswith("all frames are equal")


# Folders


@pytest.fixture
def course_of(tmp_path):
    """Extract a folder of films as the course does, and make the course."""

    def made(folder, **more):
        profile = replace(get_profile("folder"), short_side=48, crop=32)
        make_shards(folder, tmp_path / "shards", profile)
        return Course(profile, FrameStore(tmp_path / "shards"), tmp_path / "runs", **more)

    return made


def film(path, seed=0):
    return write_video(path, moving_frames(8, seed=seed))


def test_nested_folders_are_groups_and_both_files_of_one_stem_are_kept(tmp_path):
    for k, name in enumerate(("anna/1.avi", "anna/2.avi", "ben/1.avi", "3.avi", "3.mkv")):
        film(tmp_path / "in" / "jump" / name, k)
    report = make(tmp_path / "in", tmp_path / "out")
    groups = FrameStore(tmp_path / "out").groups
    assert groups == {
        "v_jump_anna_1": "anna", "v_jump_anna_2": "anna", "v_jump_ben_1": "ben",
        "v_jump_3": "v_jump_3", "v_jump_3_mkv": "v_jump_3_mkv",
    }  # fmt: skip
    assert report.nested == 3 and "3 clips lie a folder deeper" in report.lines()[-1]


def test_folders_of_images_are_clips(tmp_path):
    for label, seed in ("push", 0), ("pull", 9):
        folder = tmp_path / "in" / label / "clip7"
        folder.mkdir(parents=True)
        for k, frame in enumerate(moving_frames(11, seed=seed), start=1):
            cv2.imwrite(str(folder / f"{k}.jpg"), frame[..., ::-1])  # 10 comes after 9
    shutil.copytree(folder, bad := tmp_path / "in" / "push" / "clip8")
    (bad / "2.jpg").rename(bad / "\u00b22.jpg")  # a digit that is no number
    (bad / "4.jpg").write_bytes(b"")
    report = make(tmp_path / "in", tmp_path / "out")
    assert report.skipped == [("push/clip8", "4.jpg is damaged or no image")]
    store = FrameStore(tmp_path / "out")
    assert store.clips == ["v_pull_clip7", "v_push_clip7"] and store.n_frames("v_push_clip7") == 11
    flow = decode(store.read_flow("v_push_clip7", range(1, 11)))
    assert np.median(flow, axis=(0, 1, 2)) == pytest.approx([2, 1], abs=0.25)


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path):
    folder = tmp_path / "in" / "jump"
    film(folder / "good.avi")
    (folder / "gone.avi").symlink_to(tmp_path / "nowhere.avi")
    (folder / "notes.txt").write_text("jump, jump\n" * 20)
    (folder / "inside").mkdir()
    for link in folder / "up", folder / "inside/up", tmp_path / "in/all":  # ways without an end
        link.symlink_to(tmp_path / "in")
    os.mkfifo(folder / "pipe.avi")
    os.mkdir(other := os.fsencode(tmp_path / "in") + b"/caf\xe9")
    shutil.copy(folder / "good.avi", other + b"/a\nb.avi")
    shutil.copy(folder / "good.avi", os.fsencode(folder) + b"/caf\xe9.avi")
    report = make(tmp_path / "in", tmp_path / "out", workers=2)
    names = "gone.avi", "inside/up", "notes.txt", "pipe.avi", "up"
    assert [name for name, _ in report.skipped] == [f"jump/{name}" for name in names]
    assert dict(report.skipped)["jump/gone.avi"] == "a broken link"
    assert FrameStore(tmp_path / "out").labels == {
        "v_caf__a_b": "caf_", "v_jump_caf_": "jump", "v_jump_good": "jump"
    }  # fmt: skip
    assert report.found == 8 and "8 files found, 5 of them left out" in report.lines()[5]
    if os.getuid():
        (folder / "good.avi").chmod(0)
        report = make(tmp_path / "in", tmp_path / "out")
        assert "may not read" in dict(report.skipped)["jump/good.avi"]


def test_a_class_whose_clip_another_one_names_alike_is_made_anew(tmp_path):
    for name in "jump_high/1.avi", "jump/high_1.avi":
        film(tmp_path / "in" / name)
        make(tmp_path / "in", tmp_path / "out")
    assert FrameStore(tmp_path / "out").clips == ["v_jump_high_1", "v_jump_high_1_avi"]


def test_another_video_of_the_same_name_and_size_is_another_video(tmp_path):
    path = film(tmp_path / "in" / "jump" / "a.avi")
    make(tmp_path / "in", tmp_path / "out")
    assert not make(tmp_path / "in", tmp_path / "out").written
    size, stamp = path.stat().st_size, path.stat().st_mtime_ns
    film(path, seed=5)
    with open(path, "ab") as file:
        file.write(bytes(max(0, size - path.stat().st_size)))
    os.truncate(path, size)
    os.utime(path, ns=(stamp, stamp))
    assert make(tmp_path / "in", tmp_path / "out").written == ["v_jump_a"]


# Splits


def test_folders_of_train_val_and_test_are_the_split(tmp_path, course_of):
    for k, name in enumerate(("train/a/1", "train/b/1", "train/b/2", "val/a/1", "val/b/1",
                              "test/a/1", "test/b/9")):  # fmt: skip
        film(tmp_path / "in" / f"{name}.avi", k)
    course = course_of(tmp_path / "in")
    assert course.classes == ["a", "b"]
    assert [len(course.train), len(course.val), len(course.test)] == [3, 2, 2]
    assert course.test == ["v_a_1", "v_b_9"] and "v_a_1_train" in course.train
    (tmp_path / "in/train/b/2.avi").rename(tmp_path / "in/test/b/2.avi")
    assert course_of(tmp_path / "in").test == ["v_a_1", "v_b_2", "v_b_9"]
    make(tmp_path / "in", tmp_path / "out")
    film(tmp_path / "in/test/a/1.avi", 7)  # of a name that a film for training has as well
    assert make(tmp_path / "in", tmp_path / "out").written


def test_what_lies_beside_the_classes_or_the_split_is_named(tmp_path):
    for k, name in enumerate(("train/a/1", "test/a/1", "test/2", "annotations/3", "4")):
        film(tmp_path / "in" / f"{name}.avi", k)
    (tmp_path / "in" / "list.csv").write_text("path,label\n")
    report = make(tmp_path / "in", tmp_path / "out")
    assert FrameStore(tmp_path / "out").sides == {"v_a_1": "test", "v_a_1_train": "train"}
    assert dict(report.skipped).keys() == {"annotations/", "test/2.avi", "4.avi"}
    assert report.found == 4 and "4 files found, 2 of them left out" in report.lines()[3]


def test_the_first_chapter_finds_the_videos_below_such_folders(tmp_path, monkeypatch):
    for name in "train/jump/a.avi", "test/jump/b.avi", "test/wave/anna/c.avi":
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setenv("TWOSTREAM_DATA", str(tmp_path))
    source = open_source(get_profile("folder"))
    assert source.namelist() == ["jump/a.avi", "jump/b.avi", "wave/c.avi"]
    assert source.read("wave/c.avi") == b"test/wave/anna/c.avi"


def test_a_folder_that_is_called_test_is_a_class_beside_others(tmp_path, course_of):
    for k, name in enumerate(("test/1", "test/2", "rest/1", "rest/2")):
        film(tmp_path / "in" / f"{name}.avi", k)
    assert course_of(tmp_path / "in").classes == ["rest", "test"]


LABELS = {"v_YoYo_g01_c01": "YoYo", "v_YoYo_g09_c01": "YoYo"}
LABELS |= {"v_wave_a": "wave", "v_wave_b": "wave"}


@pytest.mark.parametrize("files", [
    {"trainlist01.txt": "YoYo/v_YoYo_g09_c01.avi 1\r\nwave/a.avi 2\r\n",
     "testlist01.txt": "YoYo/v_YoYo_g01_c01.avi\r\n"},
    {"wave_test_split1.txt": "a.avi 1 \nb.avi 0 \n",
     "YoYo_test_split1.txt": "v_YoYo_g01_c01.avi 2 \nv_YoYo_g09_c01.avi 1 \n"},
    {"own.csv": 'n;"path";label;"split"\n1;v_YoYo_g09_c01.avi;YoYo;train\n2;a;wave;train\n'
                "3;v_YoYo_g01_c01;;test"},
    {"own.csv": "\ufeffpath,label,split\nYoYo/v_YoYo_g09_c01.avi,YoYo,train\n"
                "C:\\x\\y\\a.mp4,wave,Train\nv_YoYo_g01_c01.avi,YoYo,test\n"},
    {"own[1].txt": "\ufeffpath\tsplit\nv_YoYo_g09_c01\ttrain\na\ttrain\nv_YoYo_g01_c01\ttest"},
    {"trainlist01.txt": "v_YoYo_g09_c01.avi\t1\na.avi\t2", "testlist01.txt": "v_YoYo_g01_c01.avi"},
])  # fmt: skip
def test_lists_of_ones_own(tmp_path, files):
    for name, text in files.items():
        code = "utf-16-le" if "[" in name else "utf-8"
        (tmp_path / name).write_bytes(text.encode(code))
    where = next(iter(files)) if len(files) == 1 or "trainlist01.txt" in files else "*_split1.txt"
    sides, _ = read_lists(str(tmp_path / where), LABELS)
    assert sides == {"v_YoYo_g09_c01": "train", "v_wave_a": "train", "v_YoYo_g01_c01": "test"}


def test_lists_name_clips_in_folders_in_between_twins_and_as_spreadsheets_write_them(tmp_path):
    labels = {"v_jump_anna_1": "jump", "v_jump_1": "jump", "v_wave_anna_1": "wave"}
    labels |= {"v_jump_2": "jump", "v_jump_2_webm": "jump", "v_u\u0308ber_a.b": "u\u0308ber"}
    lines = "jump/anna/1.avi, jump, train", "jump\\1.avi, jump, test", "wave/anna/1.avi,,Train "
    more = "caf\xe9.avi, wave, train", "data/jump/2.mp4,, val", "2.webm, jump, train", "x.avi"
    more = *more, "\xfcber/a.b,,train", "wave/2,,train"
    text = "\n".join(["path, label, split", *lines, *more])
    (tmp_path / "own.csv").write_bytes(text.encode().replace("\xe9".encode(), b"\xe9"))
    sides, groups = read_lists(str(tmp_path / "own.csv"), labels)
    assert groups == {} and sides == {
        "v_jump_anna_1": "train", "v_jump_1": "test", "v_wave_anna_1": "train", "v_jump_2": "val",
        "v_jump_2_webm": "train", "v_u\u0308ber_a.b": "train",
    }  # fmt: skip


def test_lists_that_say_nothing_are_refused_and_strangers_named(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no list .*give a file, or a pattern"):
        read_lists(str(tmp_path / "none.txt"), LABELS)
    (tmp_path / "train.txt").write_text("a\nb\nz\n")
    with pytest.raises(ValueError, match="names 2 of the 4 clips.*fits no clip: z"):
        read_lists(str(tmp_path / "train.txt"), LABELS)
    for text, words in (
        ("name,split\na,train", "fits no clip: .'a', 'train'"), ('split\n"a', "damaged CSV: unexp"),
        ("path,split\na,train\nb,test\na,test", "has a for train and for test"),
    ):  # fmt: skip
        (tmp_path / "own.csv").write_text(text)
        with pytest.raises(ValueError, match=words):
            read_lists(str(tmp_path / "own.csv"), LABELS)
    (tmp_path / "test.txt").write_text("v_YoYo_g01_c01\n")
    assert len(read_lists(str(tmp_path / "train.txt"), LABELS)[0]) == 3
    assert "1 of 4 lines" in capsys.readouterr().out


def test_a_list_of_groups_alone_leaves_the_folds_to_us(tmp_path, monkeypatch, capsys):
    for label in "a", "b":
        for k in range(4):
            film(tmp_path / "in" / label / f"{k}.avi", k)
    rows = [f"{label}/{k}.avi,{'anna' if k < 2 else 'ben'}" for label in "ab" for k in range(4)]
    (tmp_path / "own.csv").write_text("\n".join(["path,group", *rows]))
    monkeypatch.setattr(start, "ROOT", tmp_path)
    for name, value in ("PROFILE", "folder"), ("DATA", tmp_path / "in"), ("RUNS", tmp_path / "r"):
        monkeypatch.setenv(f"TWOSTREAM_{name}", str(value))
    monkeypatch.setenv("TWOSTREAM_SPLIT", str(tmp_path / "own.csv"))
    course = start.setup(short_side=48, crop=32)
    sides = [{course.store.group(clip) for clip in part} for part in (course.train, course.test)]
    assert sorted(sides, key=min) == [{"anna"}, {"ben"}] and len(course.test) == 4
    assert "no group" not in capsys.readouterr().out


def test_as_many_folds_as_there_are_groups(tmp_path, course_of):
    for group in "set1", "set2":
        for label in "a", "b":
            film(tmp_path / "in" / label / group / "1.avi", ord(label))
    course = course_of(tmp_path / "in")
    assert [len(course.train), len(course.test)] == [2, 2]
    with pytest.raises(ValueError, match="has folds 1 to 2"):
        course_of(tmp_path / "in", split=3)
    shutil.rmtree(tmp_path / "in" / "a" / "set2")
    shutil.rmtree(tmp_path / "in" / "b" / "set2")
    with pytest.raises(ValueError, match="2 folds need 2 groups.* set1: .*other persons.*GROUPS"):
        course_of(tmp_path / "in")


@pytest.mark.parametrize("good, bad, words", [
    ("jump/a.avi", "wave/b.avi", "one class only, jump, .*1 files were left out. Give the folder"),
    ("UCF/a/1.avi", "UCF/b/1.txt", "one class only, UCF, .*or the one in it, if its folders"),
])  # fmt: skip
def test_one_class_is_refused_with_the_way_out(tmp_path, course_of, good, bad, words):
    film(tmp_path / "in" / good)
    (tmp_path / "in" / bad).parent.mkdir()
    (tmp_path / "in" / bad).write_text("no video")
    with pytest.raises(ValueError, match=words):
        course_of(tmp_path / "in")


def test_videos_in_memory_are_written_without_loss_that_matters():
    from twostream_utils.lab.sources import encode_video

    frames = moving_frames(6)
    with av.open(io.BytesIO(encode_video(frames, 25))) as file:
        back = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])
    assert back.shape == frames.shape and np.abs(back.astype(int) - frames).mean() < 8
