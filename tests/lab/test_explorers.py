"""Explorers: every view over its whole range, every control redraws; over a small store."""

from __future__ import annotations

import statistics
import time
from itertools import combinations
from unittest.mock import patch

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import make_store

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.evaluation import Scores
from twostream_utils.lab.explore import first_layer, fusion, fusion_layer, pace, quantisation
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import StackDataset
from twostream_utils.store import FrameStore
from twostream_utils.vgg import load_weights, vgg19

CLIP = "v_JumpRope_g01_c01"
SMALL = get_profile("mini", crop=32, rgb_frames=2, flow_fields=3, positions=1)


def both_streams(store: FrameStore, profile) -> StackDataset:
    return StackDataset(store, store.clips, ["JumpRope", "PullUps"], profile, ("rgb", "flow"))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    return make_store(
        tmp_path_factory.mktemp("store"), {"JumpRope": [9, 5], "PullUps": [7]}, 48, 64
    )


@pytest.fixture(scope="module")
def dataset(store) -> StackDataset:
    return both_streams(store, SMALL)


@pytest.fixture(scope="module")
def scores() -> tuple[Scores, Scores]:
    """Three clips: only the spatial stream is right, only the temporal one, both."""
    clips, labels, classes = ("a", "b", "c"), np.array([0, 0, 1]), ("X", "Y")
    spatial = np.array([[4.0, 0], [0, 1], [0, 3]], np.float32)
    temporal = np.array([[0, 1.0], [4, 0], [0, 3]], np.float32)
    return tuple(Scores(clips, labels, s[:, None], classes) for s in (spatial, temporal))


@pytest.fixture(scope="module")
def model() -> ConvFusion:
    torch.manual_seed(0)
    return ConvFusion(*(vgg19(n, 2, width=1 / 16, batch_norm=True) for n in (6, 6)))


def fits(drawing) -> np.ndarray:
    """A drawing is an image with a sentence that can serve as alt text."""
    image, sentence = drawing
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert len(sentence.split()) > 8
    return image


# --- views --------------------------------------------------------------------------------------


def test_fields_outside_the_clip_are_refused_by_name(store):
    for field in 0, 9:
        with pytest.raises(IndexError, match=CLIP):
            quantisation.quantisation_view(store, CLIP, field)


def test_storage_is_off_by_half_a_step_without_jpeg_loss_and_more_when_clamped():
    flow = np.full((32, 32, 2), 3.0, np.float32)  # plain, so that JPEG has nothing to lose
    assert quantisation.errors(flow, 20, 100)[0] <= np.hypot(1, 1) * 20 / 255 + 1e-4
    assert quantisation.errors(flow, 1, 100)[0] == pytest.approx(np.hypot(2, 2), abs=0.02)


def test_every_filter_can_be_drawn_in_every_way():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    rgb = torch.randn(1, 3, 16, 16, generator=generator).repeat(1, 2, 1, 1)[0]
    flow = torch.randn(8, 16, 16, generator=generator)
    for k in range(4):
        drawn = [
            fits(first_layer.first_layer_view(weight, rgb, flow, k, *way.split(": ")))
            for way in first_layer.WAYS
        ]
        assert all((one != other).any() for one, other in combinations(drawn, 2))
    with pytest.raises(IndexError, match="0 to 3"):
        first_layer.first_layer_view(weight, rgb, flow, 4)


def test_sweep_ends_at_the_streams_themselves_and_is_drawn_at_every_weight(scores):
    swept = fusion.sweep(*scores)
    for space in fusion.SPACES:
        right = swept.right(space)
        assert right[0].tolist() == [True, False, True]
        assert right[-1].tolist() == [False, True, True]
        assert right[fusion.EVEN].all()
        for at, weight in enumerate(fusion.WEIGHTS):
            if at % 10 == 0:
                fits(fusion.fusion_view(swept, float(weight), space))
            with patch.object(fusion, "Canvas"):  # the others without a drawing
                assert f"{weight:.2f}" in fusion.fusion_view(swept, float(weight), space)[1]
    assert "0 clips are won and 1 lost" in fusion.fusion_view(swept, 0.0)[1]
    for wrong in (1.2, "softmax"), (0.5, "max"):
        with pytest.raises(ValueError, match="weight from 0 to 1"):
            fusion.fusion_view(swept, *wrong)


def test_matched_pairs_are_found_where_they_were_put():
    weight = torch.cat([torch.eye(4), 3 * torch.eye(4)], dim=1)[:, :, None, None] / 4
    weight[2, 4 + 1] = 0.9  # temporal map 1 into output 2, beside spatial map 2
    assert fusion_layer.matched_pairs(weight)[0] == (2, 1, 2)
    own = fusion_layer.matched_pairs(weight, own=True)
    assert own[0] == (2, 1, 2) and own[1][0] == own[1][1]
    with pytest.raises(ValueError, match="M, 2M"):
        fusion_layer.matched_pairs(weight[:, :5])


def test_pairs_of_a_clip_are_the_strongest_that_answer_on_it(dataset, model):
    layer = fusion_layer.FusionLayer(model, dataset)
    model.spatial.train()
    for clip, own in zip(dataset.clips, (False, True)):
        listed = layer.answering(clip, own)
        assert 1 <= len(listed) <= fusion_layer.PAIRS
        with patch.object(fusion_layer, "Canvas"):  # the sentences alone
            answers = [p for p in layer.pairs[own] if "nowhere" not in layer.view(clip, p)[1]]
        assert listed == answers[: fusion_layer.PAIRS]
        fits(layer.view(clip, listed[0]))
    assert model.spatial.training and not model.temporal[0].weight.requires_grad


def lit(box) -> bool:
    """Both maps of the fusion-layer explorer, and the place where they meet, are not dark."""
    image = cv2.imdecode(np.frombuffer(box.children[-2].value, np.uint8), cv2.IMREAD_COLOR)
    side, gap, top = fusion_layer.PANEL, fusion_layer.GAP, fusion_layer.TOP
    lower = top + side + top + 6
    maps = [image[y : y + side, 2 * (side + gap) :][:, :side] for y in (top, lower)]
    return all(panel.max() > 200 for panel in maps) and "nowhere" not in box.children[-1].value


def test_no_view_of_the_fusion_layer_explorer_is_dark_and_a_pair_outlives_its_clip(dataset, model):
    box = fusion_layer.fusion_layer_explorer(model, dataset)
    class_menu, clip, pair, own = controls_of(box)
    assert lit(box)  # as it opens
    for also in False, True:
        own.value = also
        for label in class_menu.options:
            class_menu.value = label
            for name in clip.options:
                clip.value = name
                for _, value in pair.options[::10]:
                    pair.value = value
                    assert lit(box), (name, value)
    class_menu.value, own.value = "JumpRope", False
    clip.value, other = clip.options
    for_both = {p for _, p in pair.options} & set(
        fusion_layer.FusionLayer(model, dataset).answering(other)
    )
    pair.value = last = max(for_both, key=[p for _, p in pair.options].index)
    clip.value = other
    assert pair.value == last


def test_the_quantisation_explorer_opens_where_told_and_can_clamp_the_fastest_pixel(store):
    box = quantisation.quantisation_explorer(store, start=("v_PullUps_g01_c01", 2))
    assert "Flow field 2 of v_PullUps_g01_c01" in box.children[-1].value
    bound = next(control for control in controls_of(box) if "bound" in control.description)
    assert bound.value == 20 and " 0.0% of the pixels are clamped" in box.children[-1].value
    bound.value = bound.options[0][1]
    assert " 0.0% of the pixels are clamped" not in box.children[-1].value
    quiet = 0.5  # px, the fastest pixel of the course's quietest fields
    assert bound.value < quiet


# --- controls -----------------------------------------------------------------------------------


def test_controls_redraw_and_follow_the_clip(store):
    box = quantisation.quantisation_explorer(store)
    class_menu, clip_menu, field = box.children[0].children
    image, sentence = box.children[-2:]
    assert class_menu.options == ("JumpRope", "PullUps") and field.max == 8
    first = image.value
    field.value = 6
    assert image.value != first
    clip_menu.value = "v_JumpRope_g01_c02"  # shorter: the slider follows
    assert field.max == 4 and field.value == 4
    class_menu.value = "PullUps"
    assert clip_menu.value == "v_PullUps_g01_c01" and field.max == 6
    assert "v_PullUps_g01_c01" in sentence.value


def controls_of(widget):
    for child in getattr(widget, "children", ()):
        yield from controls_of(child)
        if hasattr(child, "description") and child.description not in ("play", ""):
            yield child


def values_of(control) -> list:
    """Five values all over the range of a control, none of them twice in a row."""
    if options := getattr(control, "options", ()):  # names, or pairs of title and value
        values = [option[1] if isinstance(option, tuple) else option for option in options]
        start = values.index(control.value) + 1
        return [values[(start + k) % len(values)] for k in range(5)]
    if isinstance(control.value, bool):
        return [control.value ^ (k % 2 == 0) for k in range(5)]
    return [type(control.value)(x) for x in np.linspace(control.max, control.min, 5)]


@pytest.fixture
def explorers(tmp_path) -> dict:
    """All explorers at the sizes of the mini profile: its frames, its networks, 6 clips."""
    store = make_store(tmp_path, dict.fromkeys(("JumpRope", "PullUps"), [60] * 3), 72, 96)
    p = get_profile("mini", positions=1)
    dataset = both_streams(store, p)
    streams = [vgg19(n, 2, p.width, p.batch_norm, p.weights) for n in p.channels.values()]
    labels, rng = np.arange(280) % 10, np.random.default_rng(0)
    names, clips = tuple("ABCDEFGHIJ"), tuple(f"clip {k}" for k in range(280))
    logits = rng.normal(3 * np.eye(10)[labels], 2, (2, 280, 10)).astype(np.float32)[:, :, None]
    weight = load_weights(p.weights, p.batch_norm)["features.0.weight"]
    return {
        "quantisation": quantisation.quantisation_explorer(store),
        "first layer": first_layer.first_layer_explorer(weight, dataset),
        "fusion": fusion.fusion_explorer(*(Scores(clips, labels, x, names) for x in logits)),
        "fusion layer": fusion_layer.fusion_layer_explorer(ConvFusion(*streams), dataset),
        "pace": pace.pace_explorer(),
    }


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plain_figure() -> float:
    """Processor time of a plain figure of two axes with a line and a legend each, ms."""
    work = time.process_time()
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.0), dpi=100)
    for axis in axes:
        axis.plot(range(9), label="a line")
        axis.set(xlabel="x", ylabel="y", title="title")
        axis.legend()
    fig.canvas.draw()
    plt.close(fig)
    return 1e3 * (time.process_time() - work)


def test_every_control_changes_the_image_before_a_plain_figure_is_drawn(explorers, one_thread):
    """The median of five moves of each control, in processor time of one core.

    About 0.2 s on a laptop: a reader waits as long on a free machine. The time on the clock is
    printed beside it; where other programs run it is theirs as well, and several threads of torch
    would wait for each other.
    """
    late, figures = {}, [plain_figure(), plain_figure()]
    for name, box in explorers.items():
        controls = list(controls_of(box))
        figures.append(plain_figure())  # all along, so that a slow minute hits both
        assert len(controls) >= 2
        for control in reversed(controls):  # class last: it takes the clip menu with it
            waits, works, seen = [], [], {box.children[-2].value}
            for value in values_of(control):
                wait, work = time.perf_counter(), time.process_time()
                control.value = value
                waits.append(1e3 * (time.perf_counter() - wait))
                works.append(1e3 * (time.process_time() - work))
                seen.add(box.children[-2].value)
            what, median = f"{name}: {control.description}", statistics.median(works)
            plain = statistics.median(figures[-3:])
            print(f"{what:<38}{median:6.1f} ms ({statistics.median(waits):.1f} on the clock, "
                  f"{median / plain:.1f} plain figures)")  # fmt: skip
            assert len(seen) > 1, what
            if median >= plain:
                late[what] = works
    assert not late
