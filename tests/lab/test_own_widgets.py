"""The chooser of notebook 10: both formats of an upload, recordings, messages; bars and film."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess

import numpy as np
import pytest
from conftest import moving_frames, write_video
from PIL import Image
from tiny_course import TINY

from twostream_utils.data.video import VideoError
from twostream_utils.fusion import METHODS
from twostream_utils.lab import own_widgets, plots
from twostream_utils.lab.flow_colours import colour_wheel
from twostream_utils.lab.own_networks import trained
from twostream_utils.views import span


@pytest.mark.parametrize(
    "value",
    [
        {"a.mp4": {"metadata": {"name": "a.mp4", "type": "video/mp4"}, "content": b"abc"}},
        ({"name": "a.mp4", "type": "video/mp4", "size": 3, "content": memoryview(b"abc")},),
        [{"name": "a.mp4", "type": "video/mp4", "size": 3, "content": memoryview(b"abc")}],
    ],
    ids=["ipywidgets 7", "ipywidgets 8", "ipywidgets 8, list"],
)
def test_an_upload_is_read_in_both_formats(value):
    assert own_widgets.uploaded(value) == ("a.mp4", b"abc")
    assert own_widgets.uploaded(type(value)()) is None


def test_recordings_and_why_there_is_none():
    data = base64.b64encode(b"film").decode()
    for kind, name in ("webm;codecs=vp8,opus", "webcam.webm"), ("mp4", "webcam.mp4"):
        assert own_widgets.recorded(f"data:video/{kind};base64,{data}") == (name, b"film")
    with pytest.raises(VideoError, match="Permission denied"):
        own_widgets.recorded("error:Permission denied")
    for text in "data:,", "data:video/webm;base64,", "data:text/html;base64,PGI+":
        with pytest.raises(VideoError, match="no video"):
            own_widgets.recorded(text)


def parts(box):
    (menu, upload, camera, handed), result = box.children[0].children, box.children[1]
    return menu, upload, camera, handed, result


def test_controls_ask_about_clip_upload_and_recording():
    asked = []

    def answer(source):
        asked.append(source)
        if not isinstance(source, str) and source[1] == b"bad":
            raise VideoError("x.mp4", "not a <video>")
        if source == "c":
            raise MemoryError("no room for <b>")
        return f"answer {len(asked)}"

    menu, upload, _, handed, result = parts(own_widgets.video_chooser(["a", "b", "c"], answer))
    assert asked == ["a"] and result.value == "answer 1"
    menu.value = "b"
    assert asked[-1] == "b" and result.value == "answer 2"
    new = ({"name": "x.mp4", "type": "", "size": 3, "content": memoryview(b"bad")},)
    upload._trait_notifiers["value"]["change"][0]({"new": new})
    assert "x.mp4: not a &lt;video&gt;" in result.value
    handed.value = "data:video/webm;base64," + base64.b64encode(b"good").decode()
    assert asked[-1] == ("webcam.webm", b"good") and result.value == "answer 4"
    assert handed.value == ""
    handed.value = "error:no camera"
    assert "no camera" in result.value and len(asked) == 4
    menu.value = "c"
    assert "did not work: no room for &lt;b&gt; (MemoryError)" in result.value


def test_the_recorder_is_javascript_that_parses(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the recorder's JavaScript is not parsed")
    path = tmp_path / "recorder.js"
    path.write_text(own_widgets.RECORDER + own_widgets.LISTENER.replace("SECONDS", "4"))
    subprocess.run([node, "--check", str(path)], check=True)
    path.write_text(own_widgets.colab_script(4))
    subprocess.run([node, "--check", str(path)], check=True)


def test_answers_hold_record_notes_bars_and_film_with_alt_text(tiny, tmp_path):
    mine = trained(tiny)
    path = write_video(tmp_path / "a.avi", moving_frames(3, 48, 64))
    for source in tiny.test[0], ("a.avi", path.read_bytes()):
        page = own_widgets.answer_html(mine, source, tiny.store, tmp_path / "own")
        assert page.count("<img ") == 2 == page.count('alt="')
        assert "data:image/webp" in page and "data:image/png" in page
        assert ("loop" in page) == (source != tiny.test[0])
        assert "Weighted fusion says" in page and "On held-out clips" in page
    with pytest.raises(VideoError, match="letter.mp4"):
        own_widgets.answer_html(mine, ("letter.mp4", b"dear reader"), tiny.store, tmp_path)


def test_bars_show_five_best_of_each_method_and_say_so(tiny):
    predicted = trained(tiny).predict(tiny.store, tiny.test[0])
    fig = own_widgets.top_bars(predicted)
    assert [axis.get_title() for axis in fig.axes] == [
        METHODS[key].title for key in predicted.scores
    ]
    assert sum(len(axis.patches) for axis in fig.axes) == 2 * len(METHODS)  # two classes
    answer = predicted.top("weighted_fusion", 1)[0][0]
    assert answer in own_widgets.describe(predicted)
    orange = plots.plt.matplotlib.colors.to_rgba(plots.ORANGE)
    for axis in fig.axes:
        names = [label.get_text() for label in axis.get_yticklabels()]
        lit = [n for n, bar in zip(names, axis.patches) if bar.get_facecolor() == orange]
        assert lit == [answer]
    plots.plt.close(fig)


def test_film_shows_the_clip_and_lights_what_counts(tiny, networks):
    clip = tiny.test[0]
    n = tiny.store.n_flow(clip)
    film, wait = own_widgets.gradcam_film(networks, tiny.store, clip, TINY, 0, side=48, most=20)
    step = -(-n // 20)
    assert film.shape == (len(range(1, n + 1, step)), 48 + own_widgets.TITLE, 2 * 48 + 6, 3)
    assert film.dtype == np.uint8 and wait == 40 * step
    assert (film[0] != film[-1]).any()
    wheel = colour_wheel(48 // own_widgets.WHEEL)  # its legend, in each picture of flow
    middle = len(wheel) // 2
    assert (film[:, -len(wheel) + middle, -len(wheel) :] == wheel[middle]).all()
    assert span(TINY) < n  # so the stacks move along the clip


def test_webp_is_animated_and_as_small_as_asked(tiny):
    film = np.stack([np.roll(moving_frames(1, 64, 96)[0], k, 1) for k in range(12)])
    data = own_widgets.webp(film, 80)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 12 and image.size == (96, 64) and image.info["loop"] == 0
        image.seek(3)
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - film[3]).mean() < 10
    smaller = own_widgets.webp(film, 80, limit=len(data) - 1)
    assert len(smaller) < len(data)
    with pytest.raises(ValueError, match="12 frames of 96x64"):
        own_widgets.webp(film, 80, limit=500)
    with pytest.raises(ValueError, match="too short"):
        own_widgets.film_html(film, 80, "a film")
