"""The clip explorer: its drawing over the whole range, and its controls, over a small store."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from twostream_utils import widgets
from twostream_utils.shards import ShardWriter, encode_clip
from twostream_utils.store import FrameStore


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    """Two classes, three clips: a textured square that walks to the right by 2 px per frame."""
    root = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    for label, lengths in ("JumpRope", [9, 5]), ("PullUps", [7]):
        with ShardWriter(root / f"{label}.zip") as shard:
            for number, length in enumerate(lengths, start=1):
                frames = np.full((length, 48, 64, 3), 90, np.uint8)
                square = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                for t in range(length):
                    frames[t, 14:34, 10 + 2 * t : 30 + 2 * t] = square
                clip = f"v_{label}_g01_c{number:02d}"
                meta = {"label": label, "group": "g01", "source": "test", "fps": 25.0}
                meta |= {"frames": length, "flow_method": "dis"}
                shard.add(encode_clip(clip, frames), {clip: meta})
    return FrameStore(root)


def test_every_frame_of_every_clip_can_be_drawn(store):
    shapes = set()
    for clip in store.clips:
        for frame in range(1, store.n_frames(clip) + 1):
            view = widgets.clip_view(store, clip, frame, [1, 3], range(1, 5))
            assert view.dtype == np.uint8
            shapes.add(view.shape)
    assert len(shapes) == 1  # the picture does not jump while it plays


def test_frames_outside_the_clip_are_refused_by_name(store):
    for frame in 0, 10:
        with pytest.raises(IndexError, match="v_JumpRope_g01_c01"):
            widgets.clip_view(store, "v_JumpRope_g01_c01", frame)


def test_first_panel_is_the_frame_and_stack_frames_are_marked(store):
    clip = "v_JumpRope_g01_c01"
    view = widgets.clip_view(store, clip, 4, height=48)
    top = widgets.TITLE
    np.testing.assert_array_equal(view[top : top + 48, :64], store.rgb(clip, 4))
    marked = widgets.clip_view(store, clip, 4, [1, 5], [2], height=48)
    changed = (view != marked).any(axis=-1)
    assert changed[top + 48 :].any() and not changed[: top + 48].any()


def test_a_view_is_drawn_within_150_ms(store):
    times = []
    for frame in range(1, 10):
        began = time.perf_counter()
        widgets.png_bytes(widgets.clip_view(store, store.clips[0], frame, [1], [1], height=150))
        times.append(time.perf_counter() - began)
    assert np.median(times) < 0.15


def test_png_keeps_pixels():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(widgets.png_bytes(image)))), image
    )


def test_controls_redraw_and_follow_the_clip(store):
    box = widgets.clip_walker(store, stack=lambda n: ([1, n], range(1, n)))
    (class_menu, clip_menu), (play, frame), image = (
        box.children[0].children,
        box.children[1].children,
        box.children[2],
    )
    assert class_menu.options == ("JumpRope", "PullUps") and frame.max == play.max == 9
    first = image.value
    frame.value = 6
    assert image.value != first
    clip_menu.value = "v_JumpRope_g01_c02"  # shorter: the slider follows
    assert frame.max == 5 and frame.value == 5
    class_menu.value = "PullUps"
    assert clip_menu.value == "v_PullUps_g01_c01" and frame.max == play.max == 7
    wanted = widgets.clip_view(store, clip_menu.value, frame.value, [1, 7], range(1, 7))
    assert image.value == widgets.png_bytes(wanted)
