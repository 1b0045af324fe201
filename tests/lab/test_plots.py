"""Every figure draws what it is given; ``show`` carries alt text to where readers look for it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from twostream_utils.flow import quantise
from twostream_utils.lab import flow_plots, plots
from twostream_utils.lab.flow_colours import colour_wheel, flow_to_rgb

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (12, 36, 48, 3), dtype=np.uint8)
RIGHT = np.zeros((36, 48, 2), np.float32)
RIGHT[10:20, 10:30, 0] = 3.0  # a patch that moves right at 3 px per frame
FIELDS = np.stack([quantise(RIGHT)] * 7)
HISTORY = [{"epoch": 1, "loss": 2.0, "top1": 0.25}, {"epoch": 2, "loss": 1.0, "top1": 0.5}]
SCORE = np.array([0.05, 0.12, 0.13, 0.2, 0.5])
BOTH = {"spatial": SCORE, "temporal": SCORE[::-1]}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plots.plt.close("all")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: flow_plots.with_wheel(plots.contact_sheet(FRAMES[:2], ["a", "b"], 2), 3),
        lambda: flow_plots.with_wheel(plots.batch_of_stacks(FRAMES[None, :10], ["a"])),
        lambda: plots.batch_of_stacks(FRAMES.reshape(3, 4, 36, 48, 3), ["a", "b", "c"]),
        lambda: flow_plots.batch_of_flow(np.stack([FIELDS] * 2), ["a", "b"]),
        lambda: plots.contact_sheet(FRAMES, list("abcdefghijkl")),
        lambda: plots.filters(RNG.normal(size=(20, 3, 3, 3))),
        lambda: plots.filters(RNG.normal(size=(4, 1, 3, 3)), ["a", "b", "c", "d"]),
        lambda: plots.training_curves(HISTORY, "spatial"),
        lambda: plots.training_curves([row | {"val_loss": 1, "val_top1": 1} for row in HISTORY]),
        lambda: plots.predictions(FRAMES[0], BOTH, "abcde", 1),
    ],
)
def test_every_figure_can_be_drawn_and_is_readable_in_width(draw):
    fig = draw()
    assert isinstance(fig, Figure)
    bundle, metadata = plots.picture(fig, "a figure drawn in a test")
    image = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert 300 <= image.width <= 920
    assert metadata == {"image/png": {"alt": "a figure drawn in a test"}}


def test_filters_on_one_scale_can_be_compared():
    strong = np.zeros((1, 3, 3, 3))
    strong[0, 0, 1, 1], strong[0, 2, 0, 0] = 1.0, -0.5
    weak = strong / 10
    shown = [plots.filters(w, top=1.0).axes[0].images[0].get_array() for w in (strong, weak)]
    np.testing.assert_allclose(shown[0][1, 1], [1, 0.5, 0.5], atol=1e-6)  # zero is mid-grey
    np.testing.assert_allclose(shown[1][1, 1], [0.55, 0.5, 0.5], atol=1e-6)
    alone = [plots.filters(w).axes[0].images[0].get_array() for w in (strong, weak)]
    np.testing.assert_allclose(alone[0], alone[1], atol=1e-6)
    mean = plots.filters(weak[:, :1], top=1.0).axes[0].images[0]
    assert (mean.norm.vmin, mean.norm.vmax) == (-1, 1)


def test_the_scale_of_a_flow_stack_is_its_speed_and_darkens_no_pixel():
    slanting = np.zeros((36, 48, 2), np.float32)
    slanting[:, :24] = 3.0, 4.0  # 5 px per frame, though neither part is more than 4
    assert flow_plots.fastest(slanting) == 5 and flow_plots.fastest(0 * slanting) == 1
    fig = flow_plots.batch_of_flow(quantise(slanting)[None, None], ["a"])
    assert fig.axes[-1].texts[0].get_text().startswith("rim: 5.0 px")
    assert fig.axes[0].images[0].get_array().max(axis=-1).min() > 240  # full colour, not dark


def test_the_scale_of_a_batch_of_flow_is_that_of_what_moves_in_it():
    quiet, outlier = np.zeros((2, 12, 36, 48, 2), np.float32), np.s_[0, 0, 0, :3]
    quiet[:, :, 10:30, 10:40, 0] = 2.0  # slow, on a third of the picture
    quiet[outlier] = 18.0  # a mistake of the estimate, on three pixels
    fig = flow_plots.batch_of_flow(quantise(quiet), ["a", "b"])
    *images, wheel = fig.axes
    assert len(images) == 20 and wheel.texts[0].get_text().startswith("rim: 2.0 px")
    for axis in images:
        shown = axis.images[0].get_array().astype(int)
        assert np.ptp(shown[20, 20]) > 240  # what moves has full colour, not white
        assert np.ptp(shown[5, 20]) < 20  # what rests is white


def test_wheel_is_the_legend_of_flow_colour_and_covers_no_image():
    fig = flow_plots.with_wheel(plots.contact_sheet(FRAMES[:4], list("abcd"), 4), 3.0)
    fig.canvas.draw()
    *images, wheel = [axis.get_tightbbox() for axis in fig.axes]
    np.testing.assert_array_equal(fig.axes[-1].images[0].get_array(), colour_wheel(96))
    assert fig.axes[-1].texts[0].get_text() == "rim: 3.0 px\nper frame"
    assert all(wheel.x0 > box.x1 for box in images)
    assert wheel.x1 <= fig.bbox.x1 and wheel.y0 >= 0 and wheel.y1 <= fig.bbox.y1


class Fields:
    """A store of three clips: in "pan" all moves, in "patch" a part, in "spike" once, very fast."""

    def __init__(self):
        still = np.zeros_like(RIGHT)
        self.fields = {
            "pan": [still + 5] * 11,
            "patch": [RIGHT * k / 10 for k in (5, 6, 7, 8, 9, 10, 4, 3, 2, 1, 11)],
            "spike": [RIGHT * 5] + [still] * 10,
        }

    def flow_numbers(self, clip):
        return np.arange(len(self.fields[clip])) + 1

    def read_flow(self, clip, indices):
        return np.stack([quantise(self.fields[clip][i - 1]) for i in indices])


def test_liveliest_field_moves_against_its_background_and_is_not_the_very_fastest():
    assert flow_plots.liveliest(Fields(), ["pan", "patch", "spike"]) == ("patch", 6)
    with pytest.raises(ValueError):
        flow_plots.liveliest(Fields(), [])


def test_predictions_mark_the_true_class_and_leave_out_what_no_stream_expects():
    one, other = SCORE, np.array([0.0, 0.0, 0.7, 0.1, 0.2])
    fig = plots.predictions(FRAMES[0], {"spatial": one, "temporal": other}, "abcde", truth=0)
    frame, left, right = fig.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["e", "d", "c", "a"]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([20, 10, 70, 0])
    colours = [bar.get_facecolor() for bar in left.patches]
    assert colours[3] != colours[0] == colours[1]


def test_picture_has_alt_text_for_html_consoles_and_nbconvert():
    bundle, metadata = plots.picture(FRAMES[0], 'noise in "many" colours')
    assert 'alt="noise in &quot;many&quot; colours"' in bundle["text/html"]
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == 'noise in "many" colours'
    pixels = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    np.testing.assert_array_equal(np.asarray(pixels), FRAMES[0])


@pytest.mark.parametrize("alt", ["", "figure", "a nice plot"])
def test_alt_text_that_says_nothing_is_refused(alt):
    with pytest.raises(ValueError, match="alt text"):
        plots.picture(FRAMES[0], alt)


def test_live_plot_is_silent_outside_a_notebook(capsys):
    plots.LivePlot("spatial")(HISTORY)
    assert capsys.readouterr().out == ""


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
