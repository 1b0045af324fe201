"""Own videos: whatever is uploaded is read as a clip, or refused in words that help."""

from __future__ import annotations

import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import moving_frames, write_video
from tiny_course import TINY

from twostream_utils.data.video import VideoError
from twostream_utils.lab import own_video
from twostream_utils.profiles import get_profile

# --- what goes well ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.webm", "VP80"), ("a.MOV", "mp4v")],
)
def test_a_plain_video_is_read_whole_and_without_notes(tmp_path, name, codec):
    frames = moving_frames(12, 48, 64)
    path = write_video(tmp_path / name, frames, codec=codec)
    own = own_video.own_clip(path, TINY, tmp_path / "own")
    assert own.notes == () and own.store.n_frames(own.clip) == 12
    assert own.store.n_flow(own.clip) == 11 and own.store.size(own.clip) == (48, 64)
    error = np.abs(own.store.rgb(own.clip, 5).astype(float) - frames[4]).mean()
    assert error < 12  # the frame that was filmed, after two lossy codecs


def test_bytes_of_an_upload_give_the_same_clip_and_are_not_kept(tmp_path):
    path = write_video(tmp_path / "a.avi", moving_frames(12, 48, 64))
    from_path = own_video.own_clip(path, TINY, tmp_path / "own")
    written = (tmp_path / "own").joinpath(Path(from_path.store.root).name)
    first = written.read_bytes()
    again = own_video.own_clip(path.read_bytes(), TINY, tmp_path / "own", name="a.avi")
    assert again.store.root == from_path.store.root and written.read_bytes() == first
    kept = [p.suffix for p in (tmp_path / "own").iterdir()]
    assert [suffix for suffix in kept if suffix != ".npz"] == [".zip"]
    own_video.own_clip(path, TINY, tmp_path / "own", start=0.2)
    assert len(list((tmp_path / "own").glob("*.zip"))) == 2


def test_a_still_or_black_video_is_taken_and_it_says_that_nothing_moves(tmp_path):
    still = np.repeat(moving_frames(1, 48, 64), 12, axis=0)
    for name, frames in {"still": still, "black": 0 * still}.items():
        path = write_video(tmp_path / f"{name}.avi", frames)
        (note,) = own_video.own_clip(path, TINY, tmp_path / "own").notes
        assert "nothing moves in this video" in note


# --- what goes wrong, with a note -------------------------------------------------------------


def test_of_a_long_video_one_part_is_read_and_it_says_which(tmp_path):
    frames = moving_frames(60, 48, 64)
    path = write_video(tmp_path / "a.avi", frames)
    own = own_video.own_clip(path, TINY, tmp_path / "own", seconds=1.0, start=0.8)
    assert own.store.n_frames(own.clip) == 26  # 0.8 s to 1.8 s at 25 per second, both ends
    assert np.abs(own.store.rgb(own.clip, 1).astype(float) - frames[20]).mean() < 12
    assert len(own.notes) == 1 and "1 s from second 0.8" in own.notes[0]
    with pytest.raises(VideoError, match="ends at 2.4 s"):
        own_video.own_clip(path, TINY, tmp_path / "own", start=3.0)


def test_of_a_fast_video_every_second_frame_is_used(tmp_path):
    frames = moving_frames(20, 48, 64)
    path = write_video(tmp_path / "a.avi", frames, fps=60)
    kept, notes = own_video.read_own(path, 48)
    assert len(kept) in (10, 11) and "60 frames per second: read at 30 per second" in notes[0]
    assert np.abs(kept[3].astype(float) - frames[6]).mean() < 12


def test_a_variable_frame_rate_is_made_steady_and_it_says_so(tmp_path):
    frames = moving_frames(20, 48, 64)
    with av.open(tmp_path / "a.mp4", "w") as file:
        stream = file.add_stream("mpeg4", rate=50, width=64, height=48)
        for k, picture in enumerate(frames):  # the second half at a third of the first one's rate
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = max(k, 3 * k - 20), Fraction(1, 50)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    kept, notes = own_video.read_own(tmp_path / "a.mp4", 48)
    assert len(notes) == 1 and "frame rate varies" in notes[0]
    assert 22 <= len(kept) <= 24  # 0.74 s at 30 per second
    # Equal times apart: the fast half gives a quarter of the frames, the slow half the rest.
    near = [int(np.abs(frames.astype(float) - k).mean((1, 2, 3)).argmin()) for k in kept]
    assert near == sorted(near) and sum(k < 10 for k in near) in (5, 6, 7)


def test_4k_is_scaled_while_reading_and_memory_stays_small(tmp_path):
    """12 frames of 4K are 300 MB; a fresh process may grow by half of that, decoder included."""
    big = np.repeat(np.repeat(moving_frames(1, 54, 96)[0], 40, 0), 40, 1)
    path = write_video(tmp_path / "a.avi", np.broadcast_to(big, (12, *big.shape)), fps=24)
    code = (
        "import resource, sys\n"
        "from twostream_utils.lab import own_video\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = used()\n"
        "frames, _ = own_video.read_own(sys.argv[1], 72)\n"
        "print(len(frames), *frames[0].shape, used() - before)\n"
    )
    pytest.importorskip("resource", reason="memory of a process is measured on Unix only")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    n, height, width, _, grown = map(int, done.stdout.split())
    assert (n, height, width) == (12, 72, 128)
    assert grown / (1 << 10 if sys.platform != "darwin" else 1 << 20) < 150


def test_of_a_video_that_was_cut_off_the_rest_is_used(tmp_path):
    path = write_video(tmp_path / "a.avi", moving_frames(40, 48, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    kept, notes = own_video.read_own(path, 48)
    assert 10 <= len(kept) < 30 and "what there is, is used" in notes[0]


# --- what goes wrong for good -----------------------------------------------------------------


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.zeros(8000, np.int16).tobytes())
    return path


def test_files_that_are_no_videos_are_refused_in_words_that_help(tmp_path, capfd):
    half = write_video(tmp_path / "half.mp4", moving_frames(40, 48, 64), codec="mp4v")
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])  # an mp4's index comes last
    text = tmp_path / "text.mp4"
    text.write_text("This is not a video.\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), moving_frames(1)[0])
    small = write_video(tmp_path / "small.avi", moving_frames(5, 12, 16))
    heard = write_video(tmp_path / "heard.mp4", moving_frames(5, 48, 64), codec="mp4v")
    heard.write_bytes(heard.read_bytes().replace(b"vide", b"soun"))  # its one track is sound
    cases = {
        sound(tmp_path / "sound.wav"): "sound in this file but no picture",
        sound(tmp_path / "named.mp4"): "sound in this file but no picture",
        heard: "sound in this file but no picture",
        text: "not a video",
        half: "end is missing",
        empty: "upload was interrupted",
        picture: "an image",
        small: "at least 16 px",
    }
    for path, words in cases.items():
        for video in path, path.read_bytes():
            with pytest.raises(VideoError, match=words) as caught:
                own_video.own_clip(video, TINY, tmp_path / "own", name=path.name)
            assert str(caught.value).startswith(path.name) and str(tmp_path) not in str(
                caught.value
            )
    assert not list((tmp_path / "own").glob("*"))  # nothing half-made is left
    assert capfd.readouterr().err == ""  # no "moov atom not found" of a decoder
    with pytest.raises(FileNotFoundError, match="nowhere.mp4"):
        own_video.own_clip(tmp_path / "nowhere.mp4", TINY, tmp_path / "own")


def test_of_real_clips_it_is_never_said_that_nothing_moves(shared_data, tmp_path):
    videos = sorted(shared_data.glob("ucf101_clips/*/*.avi"))[::25][:6]
    assert videos, "no UCF101 clips in the folder of real clips"
    for path in videos:
        own = own_video.own_clip(path, get_profile("folder"), tmp_path)
        assert not any("nothing moves" in note for note in own.notes), path
