from __future__ import annotations

import numpy as np

from twostream_utils.lab.flow_colours import colour_wheel, flow_to_rgb


def test_colours():
    flow = np.zeros((1, 5, 2), np.float32)
    flow[0, 1:] = (4, 0), (-4, 0), (0, 4), (2, 0)
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
