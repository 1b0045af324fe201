"""What shows flow, over a store where only every 2nd field was extracted (`--every 2`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_store

from twostream_utils.experiments.original_loader import write_folders
from twostream_utils.lab import gradcam, own_widgets
from twostream_utils.lab.flow_plots import field_at, liveliest
from twostream_utils.profiles import get_profile
from twostream_utils.store import FrameStore
from twostream_utils.vgg import vgg19
from twostream_utils.views import eval_views

CLIP = "v_YoYo_g01_c01"  # 11 frames: fields 1 to 10, of which 1, 3, 5, 7, 9
PROFILE = get_profile("mini", crop=32, rgb_frames=2, flow_fields=3, flow_step=2, positions=1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[FrameStore]:
    """Two clips, once with all fields and once with every 2nd one."""
    places = ((tmp_path_factory.mktemp(f"every{every}"), every) for every in (1, 2))
    return [make_store(root, {"YoYo": [11, 6]}, every=every) for root, every in places]


def test_the_field_of_a_frame_is_its_own_or_the_last_before_it(stores):
    whole, thin = stores
    frames = range(1, 12)
    assert [field_at(whole, CLIP, frame) for frame in frames] == [*range(1, 11), 10]
    assert [field_at(thin, CLIP, frame) for frame in frames] == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 9]


def test_the_liveliest_field_is_one_that_is_there(stores):
    clip, field = liveliest(stores[1], stores[1].clips)
    assert field in stores[1].flow_numbers(clip)
    np.testing.assert_array_equal(stores[1].flow(clip, field), stores[0].flow(clip, field))


def test_folders_of_files_hold_the_fields_that_are_there(stores, tmp_path):
    write_folders(stores[1], [CLIP], tmp_path)
    names = sorted(path.stem[-2:] for path in (tmp_path / "tvl1_flow/u" / CLIP).iterdir())
    assert names == ["01", "03", "05", "07", "09"]


def test_grad_cam_and_its_film_show_fields_that_are_there(stores):
    whole, thin = stores
    torch.manual_seed(0)
    networks = {
        name: vgg19(channels, 2, 1 / 32, batch_norm=True).eval()
        for name, channels in (("spatial", 6), ("temporal", 6))
    }
    (view, _) = eval_views(11, thin.size(CLIP), PROFILE)
    for number, field in (4, 3), (10, 9), (11, 9):
        frame, flow = gradcam.shown_pair(thin, CLIP, number, view, 32)
        np.testing.assert_array_equal(frame, gradcam.shown_pair(whole, CLIP, number, view, 32)[0])
        np.testing.assert_array_equal(flow, gradcam.shown_pair(whole, CLIP, field, view, 32)[1])
    fig = gradcam.where_it_looks(networks, thin, CLIP, view, PROFILE, 1)
    assert [axis.get_title() for axis in fig.axes][2::2] == ["flow", "direction"]
    assert fig.axes[-1].texts[0].get_text().startswith("rim: ")
    film, wait = own_widgets.gradcam_film(networks, thin, CLIP, PROFILE, 1, side=32)
    assert (len(film), wait) == (5, 80)  # as long as the clip: every 2nd frame, twice as long
    film, wait = own_widgets.gradcam_film(networks, thin, CLIP, PROFILE, 1, side=32, most=3)
    assert (len(film), wait) == (3, 160)
