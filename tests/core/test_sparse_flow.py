"""What shows flow, over a store where only every 2nd field was extracted (`--every 2`)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import moving_frames

from twostream_utils.data.shards import ShardWriter, encode_clip
from twostream_utils.experiments.original_loader import write_folders
from twostream_utils.lab import gradcam, own_widgets
from twostream_utils.lab.explore import clip as explore_clip
from twostream_utils.lab.flow_plots import field_at, flow_stack_grid, liveliest
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import flow_positions
from twostream_utils.store import FrameStore
from twostream_utils.vgg import vgg19
from twostream_utils.views import eval_views

CLIP = "v_YoYo_g01_c01"  # 11 frames: fields 1 to 10, of which 1, 3, 5, 7, 9
PROFILE = get_profile("mini", crop=32, rgb_frames=2, flow_fields=3, flow_step=2, positions=1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[FrameStore]:
    """Two clips, once with all fields and once with every 2nd one."""
    found = []
    for every in 1, 2:
        root = tmp_path_factory.mktemp(f"every{every}")
        with ShardWriter(root / "YoYo.zip") as shard:
            for number, length in (1, 11), (2, 6):
                frames = moving_frames(length, seed=number)
                clip = f"v_YoYo_g01_c{number:02d}"
                meta = {"label": "YoYo", "group": "g01", "source": "test", "fps": 25.0}
                meta |= {"frames": length, "flow": "dis", "flow_every": every}
                shard.add(encode_clip(clip, frames, every=every), {clip: meta})
        found.append(FrameStore(root))
    return found


def test_the_field_of_a_frame_is_its_own_or_the_last_before_it(stores):
    whole, thin = stores
    frames = range(1, 12)
    assert [field_at(whole, CLIP, frame) for frame in frames] == [*range(1, 11), 10]
    assert [field_at(thin, CLIP, frame) for frame in frames] == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 9]


def test_the_liveliest_field_is_one_that_is_there(stores):
    clip, field = liveliest(stores[1], stores[1].clips)
    assert field in stores[1].flow_numbers(clip)
    np.testing.assert_array_equal(stores[1].flow(clip, field), stores[0].flow(clip, field))


def test_a_grid_of_the_stack_is_titled_with_the_numbers_that_are_there(stores):
    numbers = flow_positions(stores[1], CLIP, PROFILE, 1)
    fig = flow_stack_grid(stores[1].read_flow(CLIP, numbers), numbers, columns=3)
    assert [axis.get_title() for axis in fig.axes][:3] == ["u 1", "u 3", "u 5"]


def test_folders_of_files_hold_the_fields_that_are_there(stores, tmp_path):
    write_folders(stores[1], [CLIP], tmp_path)
    names = sorted(path.stem[-2:] for path in (tmp_path / "tvl1_flow/u" / CLIP).iterdir())
    assert names == ["01", "03", "05", "07", "09"]


def test_the_clip_explorer_draws_every_frame_and_says_whose_flow_it_shows(stores):
    for frame in range(1, 12):
        _, sentence = explore_clip.clip_view(stores[1], CLIP, frame, 2, 2, 3, 2)
        field = field_at(stores[1], CLIP, frame)
        whose = "its flow" if field == frame else f"the flow of frame {field}"
        assert f"and {whose} in colour" in sentence
        assert "3 fields, 2 apart, up to number 5 of 9." in sentence
    assert "different ones remain" in explore_clip.clip_view(stores[1], CLIP, 1, 2, 2, 9, 2)[1]
    with pytest.raises(ValueError, match=f"{CLIP} has only one flow field in 2: .*2 apart, not 3"):
        explore_clip.clip_view(stores[1], CLIP, 1, 2, 2, 3, 3)


def test_its_slider_offers_only_distances_that_can_be_had(stores):
    box = explore_clip.clip_explorer(stores[1], get_profile("ucf101", rgb_frames=2, flow_fields=3))
    apart = box.children[3].children[1]
    assert (apart.min, apart.step, apart.value) == (2, 2, 2)
    for value in range(apart.min, apart.max + 1, apart.step):
        apart.value = value
        assert f"3 fields, {value} apart" in box.children[-1].value
    apart = explore_clip.clip_explorer(stores[0], PROFILE).children[3].children[1]
    assert (apart.min, apart.max, apart.step) == (1, 10, 1)


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
