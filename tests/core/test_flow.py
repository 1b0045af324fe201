from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import texture

from twostream_utils.flow import (
    METHODS,
    colour_wheel,
    compute_flow,
    decode,
    flip_flow,
    flow_to_rgb,
    quantise,
)


def shifted_pair(dx, dy, height=72, width=96):
    """Two grey frames; the texture moves dx px right and dy px down from the first to the next."""
    canvas = cv2.cvtColor(texture(height + 40, width + 40), cv2.COLOR_RGB2GRAY)
    first = canvas[20 : 20 + height, 20 : 20 + width]
    second = canvas[20 - dy : 20 - dy + height, 20 - dx : 20 - dx + width]
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(48, 64), (72, 96), (120, 160)])
def test_flow_of_a_shift_has_its_sign_and_size(method, size):
    flow = compute_flow(*shifted_pair(3, -2, *size), method)
    assert flow.shape == (*size, 2) and flow.dtype == np.float32
    inner = flow[8:-8, 8:-8]
    assert np.median(inner[..., 0]) == pytest.approx(3, abs=0.2)
    assert np.median(inner[..., 1]) == pytest.approx(-2, abs=0.2)


def test_flow_is_the_same_each_time():
    pair = shifted_pair(2, 1)
    first = compute_flow(*pair)
    compute_flow(*shifted_pair(-4, 0))
    assert np.array_equal(compute_flow(*pair), first)


def test_quantise_by_hand():
    flow = np.array([0, 20, -20, 1000, -1000, 10, -10, 0.1], np.float32)
    assert quantise(flow).tolist() == [128, 255, 0, 255, 0, 191, 64, 128]
    assert quantise(flow).dtype == np.uint8
    assert quantise(np.array([5.0, -5.0]), bound=5).tolist() == [255, 0]


def test_decode_by_hand():
    assert decode(np.array([0, 255], np.uint8)).tolist() == [-20, 20]
    assert decode(np.array([128], np.uint8))[0] == pytest.approx(128 * 40 / 255 - 20, abs=1e-5)
    assert decode(np.zeros(1, np.uint8)).dtype == np.float32


def test_round_trip_is_within_half_a_step():
    flow = np.linspace(-20, 20, 40001, dtype=np.float32)
    assert np.abs(decode(quantise(flow)) - flow).max() <= 40 / 255 / 2 + 1e-5
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantise(decode(every)), every)


def test_flip_by_hand():
    q = np.array([[[10, 1], [20, 2], [30, 3]]], np.uint8)
    assert flip_flow(q).tolist() == [[[225, 3], [235, 2], [245, 1]]]
    stack = np.stack([q, q])
    assert np.array_equal(flip_flow(flip_flow(stack)), stack)
    with pytest.raises(ValueError, match="uint8"):
        flip_flow(q.astype(np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_flow_of_mirrored_frames_is_the_flipped_flow(method):
    a, b = shifted_pair(4, 1)
    q = quantise(compute_flow(a, b, method))
    mirrored = [np.ascontiguousarray(x[:, ::-1]) for x in (a, b)]
    q_mirrored = quantise(compute_flow(*mirrored, method))
    off = np.abs(q_mirrored.astype(int) - flip_flow(q).astype(int))[8:-8, 8:-8]
    assert np.percentile(off, 95) <= 3  # steps of 0.157 px
    assert np.median(q_mirrored[..., 0]) < 110 < 145 < np.median(q[..., 0])


def test_bad_frames_are_named():
    grey = np.zeros((48, 64), np.uint8)
    with pytest.raises(ValueError, match="cvtColor"):
        compute_flow(np.zeros((48, 64, 3), np.uint8), grey)
    with pytest.raises(ValueError, match="one size"):
        compute_flow(grey, grey[:40])
    with pytest.raises(ValueError, match="at least 16 px"):
        compute_flow(grey[:8], grey[:8])
    with pytest.raises(ValueError, match="dis, tvl1, farneback"):
        compute_flow(grey, grey, "raft")


def test_colours():
    flow = np.zeros((1, 5, 2), np.float32)
    flow[0, 1] = 4, 0
    flow[0, 2] = -4, 0
    flow[0, 3] = 0, 4
    flow[0, 4] = 2, 0
    still, right, left, down, slow = flow_to_rgb(flow)[0].astype(int)
    assert still.tolist() == [255, 255, 255]
    assert right[0] == 255 and right[1:].max() < 30  # red
    assert left[0] < 30 and left[1:].min() > 200  # cyan
    assert down[:2].min() > 200 and down[2] < 30  # yellow
    assert slow[0] == 255 and 120 < slow[1] < 135  # half as full
    assert (flow_to_rgb(np.full((4, 4, 2), 0.01, np.float32)) >= 250).all()


def test_colour_wheel_is_the_legend():
    wheel = colour_wheel(101)
    assert wheel.shape == (101, 101, 3) and wheel.dtype == np.uint8
    assert (wheel[50, 50] >= 252).all() and (wheel[0, 0] == 255).all()
    right = flow_to_rgb(np.array([[[1, 0]]], np.float32), max_px=1)[0, 0]
    assert np.array_equal(wheel[50, 100], right)
