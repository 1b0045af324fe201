"""The original's defects and recipe, the kept comparisons, accuracy over splits and seeds."""

import copy
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from twostream_utils.evaluation import bootstrap_interval
from twostream_utils.experiments import ablations, accuracy, lessons, original
from twostream_utils.experiments.original_loader import OriginalClips, write_folders
from twostream_utils.lab import kept
from twostream_utils.stacks import RGB_MEAN, RGB_STD
from twostream_utils.store import FrameStore
from twostream_utils.vgg import transform_first_layer, vgg19

# --- defects: each does what its name says, and nothing else -----------------------------------


@pytest.fixture(scope="module")
def clip_pair(tiny):
    """A clip that is mirrored, as it should be and with defects."""
    course = replace(tiny, profile=replace(tiny.profile, rgb_frames=8, flow_fields=8))
    clips = course.dataset("train")
    index = next(i for i in range(len(clips)) if clips.views(i)[0].flip)
    return lambda *defects: (clips[index], original.DefectiveClips(clips, defects)[index])


def test_without_a_defect_nothing_changes_and_jitter_crops_every_frame_for_itself(
    clip_pair, tiny, monkeypatch
):
    good, same = clip_pair()
    assert all(torch.equal(good[stream], same[stream]) for stream in ("rgb", "flow"))
    with pytest.raises(ValueError, match="no defects"):
        clip_pair("none such")
    height, width = tiny.store.size(tiny.train[0])
    column = np.broadcast_to(np.arange(width, dtype=np.uint8)[:, None], (height, width, 3))
    monkeypatch.setattr(tiny.store, "read_rgb", lambda clip, where: np.stack([column] * len(where)))
    good, bad = clip_pair("jitter")
    rows = bad["rgb"][0, ::3, 0]
    assert len({tuple(row.tolist()) for row in rows}) > 5
    assert torch.equal(good["flow"], bad["flow"])


def test_flow_is_rotated_keeps_the_sign_of_u_or_fills_its_range(clip_pair):
    good, bad = (item["flow"][0] for item in clip_pair("rotated"))
    assert torch.equal(bad[-2:], good[:2]) and torch.equal(bad[:-2], good[2:])
    good, bad = (item["flow"][0] for item in clip_pair("unflipped u"))
    assert torch.equal(good[0::2], 255 - bad[0::2]) and torch.equal(good[1::2], bad[1::2])
    _, bad = clip_pair("min-max flow")
    u = bad["flow"][0, 0::2].flatten(1)
    assert (u.min(1).values == 0).all() and (u.max(1).values == 255).all()


def test_own_crops_move_flow_apart_from_rgb(clip_pair):
    good, bad = clip_pair("own crops")
    assert torch.equal(good["rgb"], bad["rgb"]) and not torch.equal(good["flow"], bad["flow"])


def test_backwards_and_shuffled_fields_are_those_of_the_film(clip_pair):
    good, bad = (item["flow"][0].unflatten(0, (-1, 2)) for item in clip_pair("backwards"))
    assert torch.equal(bad, 255 - good.flip(0))
    good, bad = (item["flow"][0].unflatten(0, (-1, 2)) for item in clip_pair("shuffled"))
    order = [next(k for k, field in enumerate(good) if torch.equal(field, other)) for other in bad]
    assert sorted(order) == list(range(len(good))) != order


def test_unregistered_flow_is_the_whole_field_and_fixed_frames_start_at_one(tiny):
    clips = tiny.dataset("train")
    bad = original.DefectiveClips(clips, ["unregistered", "fixed frames"])
    for bad.epoch in (0, 1):
        assert {bad.views(i)[0].start for i in range(len(bad))} == {1}
    first = tiny.store.read_flow(clips.clips[0], [1])[0]
    whole = cv2.resize(first, (32, 32)).transpose(2, 0, 1)
    np.testing.assert_array_equal(bad[0]["flow"][0, :2], whole)


@pytest.mark.parametrize("which", original.FIRST_LAYERS)
def test_first_layers(which):
    weight, model = torch.randn(8, 3, 3, 3), vgg19(30, 5, width=1 / 8)
    with torch.no_grad():
        model.features[0].bias.fill_(3)
    layer = original.with_first_layer(model, weight, which).features[0]
    own = which in ("mean", "mean_rescaled", "inflate")
    assert bool((layer.bias == 3).all()) == own
    if own:
        wanted = transform_first_layer(weight, 30, which)
    elif which == "original":
        wanted = (weight[0].sum(0) / 3).expand(8, 30, 3, 3)
    else:
        wanted = layer.weight
        assert len(torch.unique(wanted.flatten(1), dim=0)) == 8 and wanted.std() < 0.5
    torch.testing.assert_close(layer.weight, wanted)


def test_the_original_keeps_torchvisions_dropout_in_its_streams(tiny, monkeypatch):
    """The 0.85, twice, is that of its conv fusion alone; both start from the same weights."""
    small = lambda _, norm: vgg19(3, 2, 1 / 16, norm).state_dict()  # noqa: E731
    monkeypatch.setattr(original, "load_weights", small)
    stream = original.original_stream(tiny, "temporal")
    rates = [m.p for m in stream.modules() if isinstance(m, torch.nn.Dropout)]
    fusion = original.OriginalFusion(original.original_stream(tiny, "spatial"), stream)
    assert rates == [0.5, 0.5]
    assert [m.p for m in fusion.classifier if isinstance(m, torch.nn.Dropout)] == [0.85, 0.85]
    assert torch.equal(fusion.temporal.classifier[0].weight, stream.classifier[0].weight)


def test_original_fusion_frames_its_maps_with_a_constant():
    fusion = original.OriginalFusion(vgg19(30, 5, 1 / 16), vgg19(100, 5, 1 / 16))
    maps = fusion.fuse(torch.randn(1, 64, 1, 7, 7))
    assert maps.shape == (1, 32, 3, 9, 9) and (maps[0, :, 0].std(dim=(1, 2)) < 1e-6).all()


# --- the recipe of its loader, by hand ---------------------------------------------------------


def test_the_recipe_has_the_originals_shapes_values_and_order(tmp_path):
    """Frame n is grey 10 n, u is 60 + n, v is 160 + n."""
    for folder, base in ("jpegs_256", 0), ("tvl1_flow/u", 60), ("tvl1_flow/v", 160):
        (tmp_path / folder / "clip").mkdir(parents=True)
        for n in range(1, 5):
            picture = np.full((32, 48, 3) if not base else (32, 48), base + n * (1 if base else 10))
            path = tmp_path / folder / "clip" / f"frame{n:06d}.jpg"
            Image.fromarray(picture.astype(np.uint8)).save(path)
    clips = OriginalClips(tmp_path, ["clip"], [3], 24, rgb_frames=(1, 3), flow_fields=(1, 2, 4))
    rgb, flow, label = clips[0]
    assert rgb.shape == flow.shape == (6, 24, 24) and label == 3
    greys = np.repeat([10, 30], 3) / 255
    by_hand = (greys - np.tile(RGB_MEAN, 2)) / np.tile(RGB_STD, 2)
    np.testing.assert_allclose(rgb[:, 5, 7], by_hand, atol=0.01)
    stored = np.array([62, 162, 64, 164, 61, 161])  # the first field stands at the end
    np.testing.assert_allclose(flow[:, 5, 7], (stored / 255 - 0.485) / 0.229, atol=0.01)


def test_folders_written_for_the_recipe_hold_the_clips_of_a_store(tiny, tmp_path):
    clip = tiny.store.clips[0]
    write_folders(tiny.store, [clip], tmp_path)
    written = FrameStore(tmp_path)
    assert written.clips == [clip] and written.n_flow(clip) == tiny.store.n_flow(clip)
    for a, b in zip((written.read_rgb(clip, [2]), written.read_flow(clip, [5])),
                    (tiny.store.read_rgb(clip, [2]), tiny.store.read_flow(clip, [5]))):  # fmt: skip
        assert np.abs(a.astype(int) - b).mean() < 3  # as JPEGs once more
    frames = OriginalClips(tmp_path, [clip], [0], 24, [1] * 8, ())[0][0].unflatten(0, (8, 3))
    assert len(torch.unique(frames.flatten(1), dim=0)) > 4  # a crop for each, of one frame


# --- runs: planned, trained, kept, compared ----------------------------------------------------


@pytest.fixture
def kept_apart(tmp_path, monkeypatch):
    """Kept files of their own, one thread more or less, and the small course."""
    monkeypatch.setenv("TWOSTREAM_PROFILE", "mini")  # is put back afterwards
    monkeypatch.setenv("ABLATION_THREADS", str(torch.get_num_threads()))
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


VARIANTS = {
    "course": ("all methods",), "first_layer": ("temporal / original", "spatial / random"),
    "defects": ("conv / own crops", "temporal / rotated", "temporal / backwards",
                "spatial / split by clip"),
    "mean_flow": ("temporal / mean subtracted",), "fusion": ("sum",),
    "original": ("streams", "conv"),
}  # fmt: skip


@pytest.mark.parametrize("group", ablations.GROUPS)
def test_a_run_is_trained_kept_and_not_trained_again(
    group, tiny, tmp_path, monkeypatch, kept_apart
):
    small = lambda _, norm: vgg19(3, 2, 1 / 16, norm).state_dict()  # noqa: E731
    for module in ablations, original:
        monkeypatch.setattr(module, "load_weights", small)
    monkeypatch.setattr(original, "EPOCHS", dict.fromkeys(original.EPOCHS, 1))
    profile = replace(tiny.profile, name="mini")
    course = replace(tiny, profile=profile, run_dir=tmp_path / "runs")
    monkeypatch.setattr(ablations, "setup", lambda *_, **__: course)
    ablations.store.cache_clear()
    runs = [ablations.Run(group, variant, 0) for variant in VARIANTS[group]]
    assert ablations.missing(runs) == runs
    for run in runs:
        kept.save_runs(run.path, ablations.carry_out(run))
    ablations.store.cache_clear()
    assert ablations.missing(runs) == []
    found = kept.load_group(group)
    if group == "course":
        assert set(found) == set(accuracy.WAYS.values())
    elif group == "original":
        assert set(found) == {"spatial", "temporal", "average of softmax", "conv"}
    else:
        assert set(found) == set(VARIANTS[group])
    for (run,) in found.values():
        assert len(run["right"]) == len(run["groups"]) == len(run["clips"]) == len(tiny.test)
        assert run["profile"] == "mini" and run["torch"] and run["seed"] == 0
        assert group != "mean_flow" or 0 <= min(run["drift"]) <= max(run["drift"]) < 20
    assert not list((tmp_path / "runs").rglob(f"{group}_*.pt"))


def test_by_clip_keeps_the_numbers_and_mixes_the_groups(tiny):
    mixed = ablations.by_clip(tiny)
    assert len(mixed.train) == len(tiny.train) and len(mixed.test) == len(tiny.test)
    assert not set(mixed.train) & set(mixed.test) and set(mixed.test) != set(tiny.test)


def test_kept_runs_are_small_and_say_where_they_come_from():
    files = sorted((kept.KEPT / "ablations").glob("*.json"))
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        for variant, runs in kept.load_runs(path).items():
            for run in runs:
                assert run["torch"] and run["precision"] and run["seconds"] >= 0, variant
                assert run["commit"] and not run["commit"].endswith("+"), "of uncommitted code"
                assert len(run["said"]) == len(run["clips"])
                assert max(run["said"]) < len(run["classes"])


@pytest.mark.parametrize(("device", "jobs"), [("cpu", 3), ("cuda", 1)])
def test_a_gpu_has_one_run_at_a_time(device, jobs, monkeypatch, kept_apart):
    for name, value in {"TQDM_DISABLE": "1", "TWOSTREAM_PRECISION": "no"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["ablations"])
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    monkeypatch.setattr(accuracy, "pick_device", lambda: torch.device(device))
    monkeypatch.setattr(ablations, "setup", lambda *_, **__: None)
    seen = []
    monkeypatch.setattr(ablations, "parallel_map", lambda *given: seen.append(given[2]) or ())
    ablations.main()
    assert seen == [jobs, jobs]


def test_no_kept_runs_is_a_sentence(kept_apart):
    with pytest.raises(FileNotFoundError, match="make ablations"):
        kept.load_group("defects")


def kept_run(hits, seed=0, split=1, variant="a", classes=("x", "y")):
    clips = [f"c{split}{i}" for i in range(len(hits))]
    return {
        "variant": variant, "profile": "mini", "seed": seed, "split": split, "classes": classes,
        "clips": clips, "groups": clips, "labels": np.arange(len(hits)) % 2,
        "right": np.array(hits, bool),
    }  # fmt: skip


def test_kept_runs_come_back_as_they_went_and_share_their_clips(tmp_path):
    clips = {"clips": ["a1", "a2", "b1"], "labels": [0, 0, 1], "groups": ["A", "A", "B"],
             "classes": ["a", "b"]}  # fmt: skip
    run = {"variant": "x / y", "profile": "mini", "split": 1, **clips}
    path = tmp_path / "group.json"
    kept.save_runs(
        path, [run | {"seed": 1, "said": [0, 1, 1]}, run | {"seed": 0, "said": [0, 0, 0]}]
    )
    kept.save_runs(path, [run | {"seed": 1, "said": [1, 1, 1]}], {"note": 3})
    first, second = kept.load_runs(path)["x / y"]
    assert (first["seed"], second["seed"]) == (0, 1) and second["clips"] == clips["clips"]
    assert first["right"].tolist() == [1, 1, 0] and second["right"].tolist() == [0, 0, 1]
    content = json.loads(path.read_text())
    assert len(content["tests"]) == 1 and len(content["runs"]) == 2 and content["note"] == 3


def test_seeds_are_averaged_and_splits_joined():
    runs = [kept_run(*run) for run in (([1, 1, 0], 0, 1), ([1, 0], 0, 2), ([1, 0, 0], 1, 1),
                                       ([1, 1], 1, 2))]  # fmt: skip
    mean, (low, high), each = kept.top1(runs)
    assert mean == pytest.approx(0.6) and each == pytest.approx([0.6, 0.6]) and low < 0.6 < high
    worse = [kept_run([0, 0, 0], 0, 1, "b"), kept_run([1, 0], 0, 2, "b")]
    difference, _, each = kept.gain(runs, worse)
    assert difference == pytest.approx(2 / 5) and each == [difference]  # of the one common seed
    with pytest.raises(ValueError, match="'a' and 'b'"):
        kept.gain(runs, [kept_run([1, 1], 0, 1, "b")])
    with pytest.raises(ValueError, match=r"seeds \[0, 1\] have different splits: run what"):
        kept.top1(runs[:-1])
    assert kept.top1(runs, ["y"])[0] == pytest.approx((1 + 0 + 0 + 1) / 4)  # class y: every other
    assert kept.top1(runs, ["c10", "c21"])[2] == pytest.approx([1 / 2, 2 / 2])


def test_intervals_are_over_groups():
    run = kept_run([1] * 8 + [0] * 2)
    clips = np.diff(kept.top1([run])[1])[0]
    run["groups"] = ["a"] * 4 + ["b"] * 4 + ["c"] * 2
    assert np.diff(kept.top1([run])[1])[0] > 1.2 * clips


def test_gain_of_one_lucky_seed_is_not_shown():
    """Two seeds without a difference, one with a large one: over clips alone it looked certain."""
    base = [kept_run([0] * 100, s, 1, "b") for s in range(3)]
    runs = [kept_run([s == 0 and k < 30 for k in range(100)], s) for s in range(3)]
    mean, ends, each = kept.gain(runs, base)
    assert mean == pytest.approx(0.1) and each == pytest.approx([0.3, 0, 0])
    assert ends[0] == 0 < ends[1]
    assert bootstrap_interval(np.repeat([0.1, 0], [30, 70]))[0] > 0


def test_unpaired_gain_is_that_of_two_binomial_shares():
    a, b = ([kept_run([k % 5 > least for k in range(100)])] for least in (0, 1))
    gain, ends = kept.unpaired_gain(a, b)
    half = 1.96 * np.sqrt((0.8 * 0.2 + 0.6 * 0.4) / 100)
    assert gain == pytest.approx(0.2)
    assert ends == pytest.approx((gain - half, gain + half), abs=0.02)


def test_accuracy_pools_the_splits_of_each_seed(monkeypatch):
    monkeypatch.setattr(accuracy, "LESSONS", {"ring": ("x",)})
    right = {(1, 0): [1, 1], (2, 0): [1, 0, 0], (1, 1): [1, 0], (2, 1): [1, 1, 0]}
    runs = {way: [kept_run(v, n, s, way) | {"seconds": 1.0} for (s, n), v in right.items()]
            for way in (*accuracy.WAYS.values(), "product")}  # fmt: skip
    for run in runs["spatial"]:
        run["right"] = np.zeros_like(run["right"])
    for run in runs["conv"]:
        run["right"] = run["right"] | (run["seed"] == 0)
    runs |= {f"{way}, one view": runs[way] for way in accuracy.WAYS.values()}
    runs["where within, conv"] = runs["conv"]
    found = accuracy.summary(runs)
    assert (found["clips"], found["groups"], found["better"]) == (5, 5, "temporal")
    assert found["methods"]["temporal"]["top1"] == pytest.approx(0.6)
    assert found["methods"]["temporal"]["seconds"] == 4
    assert found["views"]["single"]["spatial"] == 0
    gain = found["differences"]["conv_fusion − average_fusion"]
    assert gain["each_seed"] == pytest.approx([0.4, 0]) and gain["gain"] == pytest.approx(0.2)
    assert found["differences"]["conv_fusion − better stream"] == gain
    assert found["differences"]["logit_average − average_fusion"]["ci95"] == (0, 0)
    assert found["lessons"]["ring"]["temporal"]["top1"] == pytest.approx(4 / 6)
    assert found["lessons"]["where within"]["conv"]["top1"] == pytest.approx(0.8)


def test_accuracy_keeps_every_way_one_view_and_the_pairs(tiny, monkeypatch):
    classes = tuple(tiny.classes)
    for module in accuracy, lessons:
        monkeypatch.setattr(module, "LESSONS", {"time": classes, "where": classes})
    assert not any(row["variant"] == "SVM" for row in accuracy.rows(tiny))
    course = copy.copy(tiny)
    course.val = list(tiny.test)  # which an SVM can learn from
    rows = {row["variant"]: row for row in accuracy.rows(course)}
    ways = {*accuracy.WAYS.values(), "product", "SVM"}
    assert set(rows) == ways | {f"{way}, one view" for way in accuracy.WAYS.values()} | {
        f"{lesson} within, {way}" for lesson in ("time", "where") for way in ways
    } | {"time within, backwards", "time within, shuffled"}
    assert rows["product"]["said"] == rows["average of logits"]["said"]
    logits = course.scores("temporal").clip_logits()
    assert rows["temporal"]["said"] == logits.argmax(1).tolist()
    assert rows["time within, temporal"]["said"] == rows["temporal"]["said"]
