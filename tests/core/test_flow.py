from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import texture

from twostream_utils.flow import (
    ALGORITHMS,
    compute_flow,
    decode,
    flip_flow,
    quantise,
    subtract_mean,
)  # fmt: skip


def shifted_pair(dx, dy, height=72, width=96):
    """Two grey frames; the texture moves dx px right and dy px down from the first to the next."""
    canvas = cv2.cvtColor(texture(height + 40, width + 40), cv2.COLOR_RGB2GRAY)
    first = canvas[20 : 20 + height, 20 : 20 + width]
    second = canvas[20 - dy : 20 - dy + height, 20 - dx : 20 - dx + width]
    return np.ascontiguousarray(first), np.ascontiguousarray(second)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [(48, 64), (72, 96), (120, 160)])
def test_flow_of_a_shift_has_its_sign_and_size(algorithm, size):
    flow = compute_flow(*shifted_pair(3, -2, *size), algorithm)
    assert flow.shape == (*size, 2) and flow.dtype == np.float32
    assert np.median(flow[8:-8, 8:-8], axis=(0, 1)) == pytest.approx([3, -2], abs=0.2)


def test_dis_is_opencvs_preset_at_any_size_and_the_small_one_another():
    preset = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for size in ((72, 96), (240, 320)):
        pair = shifted_pair(2, 1, *size)
        flow = compute_flow(*pair)
        assert np.array_equal(flow, preset.calc(*pair, None))
        compute_flow(*shifted_pair(-4, 0, 24, 32))  # leaves nothing behind
        assert np.array_equal(compute_flow(*pair, "dis"), flow)
        assert not np.array_equal(compute_flow(*pair, "dis_small"), flow)


def moved(size, seed):
    """Two noisy grey frames, the true motion between them, and where it is asked for.

    A textured limb of 4 px turns about its end, its tip by 4 px a frame. Drawn four times as large
    and averaged, so that motion is not in whole pixels.
    """
    height, width = size
    length = 0.3 * height
    cos, sin = np.cos(4 / length), np.sin(4 / length)
    turn = np.array([[cos, -sin], [sin, cos]])
    room, body = (cv2.cvtColor(texture(192, 192, k), cv2.COLOR_RGB2GRAY) for k in (seed, 9 + seed))
    rng = np.random.default_rng(seed)

    def places(scale):  # (x, y) of each pixel, from the middle of the frame
        grid = np.meshgrid(np.arange(width * scale), np.arange(height * scale))
        return (np.stack(grid, axis=-1) + 0.5) / scale - (width / 2, height / 2)

    def paint(picture, at):
        x, y = np.moveaxis((2 * at + 96).astype(np.float32), -1, 0)
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    def small(image):
        return cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)

    frames = []
    for t in 1, 0:
        before = places(4) @ np.linalg.matrix_power(turn, t)  # where it was in frame 0
        across = np.hypot(before[..., 0] - before[..., 0].clip(0, length), before[..., 1])
        frame = np.where(across < 2, 120 + paint(body, 2 * before) // 2, paint(room, places(4)))
        frames.append((small(frame) + rng.normal(0, 3, size)).clip(0, 255).astype(np.uint8))
    return *frames[::-1], places(1) @ turn.T - places(1), small(across < 2) > 0.5


@pytest.mark.parametrize("size", [(72, 96), (96, 128)])
def test_small_frames_flow_follows_limbs_that_the_preset_smears(size):
    def error(algorithm):
        gaps = []
        for seed in range(6):
            before, after, truth, asked = moved(size, seed)
            gap = np.linalg.norm(compute_flow(before, after, algorithm) - truth, axis=-1)
            gaps.append(gap[asked].mean())
        return np.mean(gaps)

    assert error("dis_small") < 0.6 * error("dis")


def test_quantise_and_decode_by_hand():
    flow = np.array([0, 20, -20, 1000, -1000, 10, -10, 0.1], np.float32)
    assert quantise(flow).tolist() == [128, 255, 0, 255, 0, 191, 64, 128]
    assert quantise(flow).dtype == np.uint8
    assert quantise(np.array([5.0, -5.0]), bound=5).tolist() == [255, 0]
    back = decode(np.array([0, 255, 128], np.uint8))
    assert back.tolist() == pytest.approx([-20, 20, 128 * 40 / 255 - 20], abs=1e-5)
    assert back.dtype == np.float32
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantise(decode(every)), every)


def test_flip_by_hand():
    q = np.array([[[10, 1], [20, 2], [30, 3]]], np.uint8)
    assert flip_flow(q).tolist() == [[[225, 3], [235, 2], [245, 1]]]
    stack = np.stack([q, q])
    assert np.array_equal(flip_flow(flip_flow(stack)), stack)
    with pytest.raises(ValueError, match="uint8"):
        flip_flow(q.astype(np.float32))


def test_mean_motion_is_taken_away_from_each_field_by_itself():
    rng = np.random.default_rng(0)
    q = quantise(rng.normal(0, 1, (3, 24, 32, 2)) + [[[[4, -2]]], [[[0, 0]]], [[[-6, 9]]]])
    left = subtract_mean(q)
    assert left.dtype == np.uint8 and np.abs(left.mean((1, 2)) - 127.5).max() <= 0.5
    moved = left.astype(int) - q
    assert (moved == moved[:, :1, :1]).all() and (moved[1] == 0).all()
    assert np.array_equal(subtract_mean(flip_flow(q)), flip_flow(left))
    assert subtract_mean(np.full((2, 2, 2), 128, np.uint8)).max() == 128  # rest stays rest


def test_bad_frames_are_named():
    grey = np.zeros((48, 64), np.uint8)
    for a, b, algorithm, words in (
        (np.zeros((48, 64, 3), np.uint8), grey, "dis", "cvtColor"),
        (grey, grey[:40], "dis", "one size"),
        (grey[:8], grey[:8], "dis", "at least 16 px"),
        (grey, grey, "raft", "dis, dis_small, tvl1, farneback"),
    ):
        with pytest.raises(ValueError, match=words):
            compute_flow(a, b, algorithm)
