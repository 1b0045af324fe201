"""Which frames a stack holds, and that one augmentation covers the whole clip and both streams."""

import os
import pickle
import signal
import time

import cv2
import numpy as np
import pytest
import torch

from twostream_utils import stacks, views
from twostream_utils.evaluation import score
from twostream_utils.experiments.original import DefectiveClips
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.stacks import EpochSampler, make_loader
from twostream_utils.training import fit
from twostream_utils.vgg import vgg19

ORIGINAL = get_profile("ucf101")


class RampStore:
    """Clips whose pixels say where they are: RGB frame i is grey i, field i is u = i, v = 200."""

    def __init__(self, n_frames=120, height=72, width=96):
        self.length, self.shape, self.decoded = n_frames, (height, width), 0

    def label(self, clip):
        return clip.split("_")[1]

    def n_frames(self, clip):
        return self.length

    def n_flow(self, clip):
        return self.length - 1

    def flow_every(self, clip):
        return 1

    def size(self, clip):
        return self.shape

    def images(self, clip, indices, flow=False):
        column = np.broadcast_to(np.arange(self.shape[1], dtype=np.uint8), self.shape)
        for i in indices:
            self.decoded += 1
            grey = np.full(self.shape, i, np.uint8)
            yield (column, grey) if flow else np.dstack([grey, column, np.full_like(grey, 7)])

    def read_rgb(self, clip, indices):
        return np.stack(list(self.images(clip, indices)))

    def read_flow(self, clip, indices):
        return np.stack([np.dstack(pair) for pair in self.images(clip, indices, flow=True)])


def dataset(profile, train=True, streams=("rgb", "flow"), store=None, **options):
    clips = [f"v_{name}_g01_c0{i}" for name in ("Diving", "Biking") for i in (1, 2, 3)]
    store = store or RampStore(120, profile.short_side, profile.short_side + 24)
    return stacks.StackDataset(
        store, clips, ["Biking", "Diving"], profile, streams, train=train, **options
    )


def test_positions_and_starts_by_hand():
    rgb = views.stack_positions(100, ORIGINAL.rgb_frames, ORIGINAL.rgb_step)
    assert rgb.tolist() == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91]
    flow = views.stack_positions(99, ORIGINAL.flow_fields, ORIGINAL.flow_step)
    assert flow.tolist() == list(range(1, 100, 2)) and views.span(ORIGINAL) == 100
    assert views.stack_positions(4, 6, 1, start=3).tolist() == [3, 4, 1, 2, 3, 4]  # short: it loops
    assert views.stack_positions(5, 4, 3, start=2).tolist() == [2, 5, 3, 1]
    for arguments in (0, 10, 1), (5, 0, 1), (5, 5, 0), (5, 5, 1, 0):
        with pytest.raises(ValueError, match="a stack needs"):
            views.stack_positions(*arguments)
    assert views.view_starts(120, 100, 1) == [11]
    assert views.view_starts(120, 100, 3) == [1, 11, 21]
    assert views.view_starts(60, 100, 3) == [1, 1, 1]


def test_channel_order_is_frame_by_frame():
    profile = get_profile("mini", subtract_mean=False)
    item = dataset(profile, train=False)[0]
    view = views.eval_views(120, (72, 96), profile)[0]
    rgb, flow = item["rgb"][0], item["flow"][0]
    assert rgb.shape == (30, 64, 64) and flow.shape == (100, 64, 64)
    assert rgb.dtype == flow.dtype == torch.uint8
    frames = views.stack_positions(120, 10, 5, view.start)
    assert rgb[0::3, 0, 0].tolist() == frames.tolist()
    assert set(rgb[2::3].unique().tolist()) == {7}
    fields = views.stack_positions(119, 50, 1, view.start)
    assert flow[1::2, 0, 0].tolist() == fields.tolist()
    assert flow[0, 0, 0] < flow[0, 0, -1]


def test_one_view_for_the_whole_clip_and_both_streams():
    profile = get_profile("mini", crop=72, min_scale=1.0, subtract_mean=False)
    for index in range(6):
        data = dataset(profile)
        view = data.views(index)[0]
        item = data[index]
        columns = np.arange(view.left, view.left + 72)
        green = columns[::-1] if view.flip else columns
        assert (item["rgb"][0, 1::3].numpy() == green).all()
        u = 255 - columns[::-1] if view.flip else columns
        assert (item["flow"][0, 0::2].numpy() == u).all()


def test_items_depend_on_seed_and_epoch_only_and_repeats_are_new_views():
    profile = get_profile("mini", rgb_frames=2, flow_fields=2)
    first, again, other = dataset(profile), dataset(profile, repeat=3), dataset(profile, seed=1)
    assert torch.equal(first[3]["flow"], again[3]["flow"])
    assert first.views(3) != other.views(3)
    assert len(again) == 18 and again[3]["label"] == again[9]["label"] == 0
    assert again.views(3) != again.views(9)
    again.epoch = 1
    assert first.views(3) != again.views(3)
    assert len(dataset(profile, train=False, repeat=3)) == 6


def test_loaders_and_workers_give_the_same_clips():
    cv2.resize(np.zeros((2000, 2000), np.uint8), (1500, 1500))  # OpenCV has threads before the fork
    # Crops large enough for OpenCV to share the work out.
    data = dataset(get_profile("mini", crop=400, rgb_frames=2, flow_fields=2))
    for epoch in range(2):
        data.epoch = epoch
        ours, theirs = make_loader(data, 6, 0, 0), make_loader(data, 6, 2, 0)
        plain = torch.utils.data.DataLoader(data, 6, sampler=EpochSampler(data, 0, 6))
        for a, b, c in zip(ours, theirs, plain, strict=True):
            for name in a:
                assert torch.equal(a[name], b[name]) and torch.equal(a[name], c[name]), name


class InWorkers(stacks.StackDataset):
    """Goes wrong in a worker."""

    def __getitem__(self, index):
        if self.trouble == "killed":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        raise RuntimeError(self.trouble)


def in_workers(trouble, train=True):
    data = dataset(get_profile("mini"), train, ("rgb",))
    data.__class__, data.trouble = InWorkers, trouble
    return data


def test_workers_batches_are_shared_and_stay_or_with_reuse_are_whole_until_the_next():
    data = dataset(get_profile("mini"), streams=("rgb",), repeat=10)
    expected, kept = list(make_loader(data, 3, 0, 0)), list(make_loader(data, 3, 1, 0))
    assert all(torch.equal(a["rgb"], b["rgb"]) for a, b in zip(kept, expected, strict=True))
    for batch, same in zip(make_loader(data, 3, 1, 0, reuse=True), expected, strict=True):
        time.sleep(0.02)  # so that the worker is as far ahead as it can be
        assert batch["rgb"].is_shared() and torch.equal(batch["rgb"], same["rgb"])


def test_loaders_work_in_spawned_processes(tiny):
    """As they do on Windows and macOS: all that a worker needs can be pickled."""
    data = tiny.dataset("train")
    loader, expected = make_loader(data, 6, 1, 0, reuse=True), make_loader(data, 6, 0, 0)
    loader.multiprocessing_context = "spawn"
    for a, b in zip(loader, expected, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("rgb", "flow", "label"))
    defective = DefectiveClips(data, {"rotated"})
    assert torch.equal(pickle.loads(pickle.dumps(defective))[0]["rgb"], defective[0]["rgb"])


@pytest.mark.parametrize(("device", "at_once"), [("cuda", True), ("mps", False)])
def test_only_cuda_copies_a_batch_while_this_process_goes_on(device, at_once):
    value = torch.ones(1, dtype=torch.uint8)
    value.to = lambda where, non_blocking=False: (where.type, non_blocking)
    (shown,) = stacks.progress([{"rgb": value}], torch.device(device), "")
    assert shown == {"rgb": (device, at_once)}


@pytest.mark.parametrize(
    ("trouble", "workers"), [("killed", 1), ("unable to allocate shared memory(shm) for file x", 0)]
)
def test_a_worker_without_memory_says_what_to_do(trouble, workers, tmp_path):
    model = vgg19(30, 2, 1 / 16)
    with pytest.raises(RuntimeError, match="fewer workers, or workers=0"):
        score(model, in_workers(trouble, False), workers=workers)
    with pytest.raises(RuntimeError, match='workers=0; in a script .* below `if __name__ == "__m'):
        fit(model, in_workers(trouble), Recipe(1, 0.01, 3), tmp_path / "a.pt", workers=workers)
    with pytest.raises(RuntimeError, match="^something else$"):
        score(model, in_workers("something else", False))


@pytest.mark.parametrize("crops", ["centre", "five"])
def test_views_share_what_is_decoded(crops):
    profile = get_profile("mini", positions=3)
    data = dataset(profile, train=False, crops=crops)
    batch, shown = stacks.write_batch(data, [0]), data.views(0)
    shared = data.store.decoded
    for v, view in enumerate(shown):
        for stream in ("rgb", "flow"):
            alone = stacks.read_stacks(data.store, data.clips[0], [view], profile, stream)[0]
            assert torch.equal(batch[stream][0, v], alone)
    assert len(shown) == (30 if crops == "five" else 6)
    frames, fields = set(), set()
    for start in {view.start for view in shown}:
        frames |= set(stacks.rgb_positions(data.store, "", profile, start).tolist())
        fields |= set(stacks.flow_positions(data.store, "", profile, start).tolist())
    assert shared == len(frames) + len(fields) < (data.store.decoded - shared) / 2


class NoiseStore(RampStore):
    """Clips whose pictures are all different and full of detail."""

    def images(self, clip, indices, flow=False):
        for i in indices:
            noise = np.random.default_rng(i).integers(256, size=(*self.shape, 3), dtype=np.uint8)
            yield (noise[..., 0].copy(), noise[..., 1].copy()) if flow else noise


@pytest.mark.parametrize("options", [{}, {"train": False, "crops": "five"}])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop": 63, "sampling": "random", "subtract_mean": True},  # five crops are not resized
        {"sampling": "segments", "train_crops": "corners", "subtract_mean": True},
    ],
)
def test_the_loader_writes_the_bytes_of_the_plain_items(options, changes):
    profile = get_profile("mini", positions=1, rgb_frames=3, flow_fields=5, **changes)
    data = dataset(profile, store=NoiseStore(120, 72, 96), **options)
    flips = set()
    for epoch in range(4):
        data.epoch = epoch
        order = list(EpochSampler(data, 0, 2))
        for place, batch in enumerate(make_loader(data, 2, 0, 0)):
            for row, index in enumerate(order[2 * place : 2 * place + 2]):
                item = data[index]
                flips |= {view.flip for view in data.views(index)}
                assert batch["label"][row] == item["label"]
                assert all(torch.equal(batch[name][row], item[name]) for name in data.streams)
    assert flips == {False, True}


class Own(stacks.StackDataset):
    """A student's: items of another kind."""

    def stack(self, clip, view, stream):
        return 0 * super().stack(clip, view, stream)


def test_a_loader_leaves_items_that_are_made_otherwise_as_they_are():
    data = dataset(get_profile("mini"), train=False)
    data.__class__ = Own
    assert all(not batch["flow"].any() for batch in make_loader(data, 3, 1, 0))


def test_random_frames_lie_in_the_span_and_segments_one_in_each():
    for seed in range(20):
        drawn = views.sampled_positions(60, 10, 5, "random", 8, seed)
        assert len(set(drawn)) == 10 and (np.diff(drawn) > 0).all()
        assert 8 <= drawn[0] and drawn[-1] <= 8 + 9 * 5
        parts = views.sampled_positions(60, 10, 5, "segments", 8, seed)
        assert ((parts - 1) // 6).tolist() == list(range(10))
    assert len({tuple(views.sampled_positions(60, 10, 5, "random", 8, s)) for s in range(9)}) == 9
    assert views.sampled_positions(60, 10, 5, "random", 8).tolist() == list(range(8, 54, 5))
    assert views.sampled_positions(60, 10, 5, "segments").tolist() == list(range(4, 60, 6))
    assert views.sampled_positions(6, 4, 2, "random", 5, 1).max() <= 6  # a short clip loops
    assert views.sampled_positions(3, 6, 1, "segments").tolist() == [1, 1, 2, 2, 3, 3]


def test_one_draw_of_frames_for_a_view_and_another_in_the_next_epoch():
    profile = get_profile("mini", sampling="segments", crop=72, min_scale=1.0)
    data = dataset(profile)
    frames = [data[2]["rgb"][0, ::3, 0, 0].tolist() for data.epoch in (0, 0, 1)]
    assert frames[0] == frames[1] != frames[2]
    assert len(dataset(profile, train=False).views(0)) == 2


def test_crops_of_corners_and_centre():
    profile, rng = get_profile("ucf101"), np.random.default_rng(0)
    shown = [views.random_view(rng, 120, (256, 340), profile) for _ in range(400)]
    sizes = {(view.side, view.width) for view in shown}
    assert sizes == {(a, b) for a in (256, 224, 192) for b in (256, 224, 192)} - {
        (256, 192), (192, 256)}  # fmt: skip
    places = {(v.top, v.left) for v in shown if (v.side, v.width) == (224, 192)}
    assert places == {(0, 0), (0, 148), (32, 0), (32, 148), (16, 74)}


@pytest.mark.parametrize(("flip", "width"), [(True, 60), (False, 40)])  # as it is, and stretched
def test_stacks_hold_what_opencv_cuts_and_resizes(flip, width):
    profile = get_profile("mini", rgb_frames=1, flow_fields=1, subtract_mean=False)
    store, view = NoiseStore(), views.View(5, 3, 20, 60, flip, width)
    (frame,) = store.images("", [5])
    cut = cv2.resize(frame[3:63, 20 : 20 + width], (64, 64))[:, :: -1 if flip else 1]
    cut = cut.transpose(2, 0, 1)
    rgb, flow = (
        stacks.read_stacks(store, "", [view], profile, stream)[0].numpy()
        for stream in ("rgb", "flow")
    )
    assert np.array_equal(rgb, cut)
    assert np.array_equal(flow, np.stack([255 - cut[0] if flip else cut[0], cut[1]]))


def test_five_crops_are_the_corners_and_the_centre():
    profile = get_profile("mini", positions=2, crop=63)  # 7/8 of 72 px: cut without resizing
    shown = views.eval_views(120, (72, 96), profile, "five")
    assert len(shown) == 2 * 2 * 5 and {view.side for view in shown} == {63}
    places = {(view.top, view.left) for view in shown}
    assert places == {(4, 16), (0, 0), (0, 33), (9, 0), (9, 33)}
    item = dataset(profile, train=False, crops="five")[0]
    assert item["rgb"].shape == (20, 30, 63, 63) and item["flow"].shape == (20, 100, 63, 63)
    left = [row[1, 0, 0].item() for row in item["rgb"][:5]]  # green is the column
    assert left == [view.left for view in shown[:5]]
    with pytest.raises(ValueError, match="no crops 'ten'; there are centre, five"):
        views.eval_views(120, (72, 96), profile, "ten")


def test_normalise_by_hand():
    values = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)
    for stream, mean, std in (
        ("rgb", 255 * np.tile(stacks.RGB_MEAN, 2), 255 * np.tile(stacks.RGB_STD, 2)),
        ("flow", np.full(4, 127.5), np.full(4, 57.63)),
    ):
        found = stacks.normalise(values.expand(-1, len(mean), 2, 2), stream)[:, :, 1, 1]
        exact = (np.arange(256)[:, None] - mean) / std
        np.testing.assert_allclose(found.numpy(), exact, rtol=0, atol=1e-6)


def test_what_does_not_exist_is_named():
    for name in ("sampling", "train_crops"):
        with pytest.raises(ValueError, match=f"no {name} 'any'; there are sp|no train_crops 'any'"):
            get_profile("mini", **{name: "any"})
    store = RampStore()
    with pytest.raises(ValueError, match="Biking"):
        stacks.StackDataset(store, ["v_Biking_g01_c01"], ["Diving"], get_profile("mini"))
