"""The original's defects and recipe, the kept comparisons, accuracy over splits and seeds."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from twostream_utils import training
from twostream_utils.evaluation import bootstrap_interval
from twostream_utils.experiments import ablations, accuracy, original
from twostream_utils.experiments.original_loader import OriginalClips, write_folders
from twostream_utils.fusion import METHODS
from twostream_utils.lab import kept
from twostream_utils.stacks import RGB_MEAN, RGB_STD
from twostream_utils.store import FrameStore
from twostream_utils.vgg import vgg19

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
    weight, model = torch.randn(8, 3, 3, 3), vgg19(20, 5, width=1 / 8)
    with torch.no_grad():
        model.features[0].bias.fill_(3)
    layer = original.with_first_layer(model, weight, which).features[0]
    assert bool((layer.bias == 3).all()) == (which in ("mean", "mean, rescaled"))
    filters = weight[:1] if which == "original" else weight
    scale = {"random": None, "mean, rescaled": 3 / 20}.get(which, 1)
    if scale:
        by_hand = (filters.mean(1, keepdim=True) * scale).expand(8, 20, 3, 3)
        torch.testing.assert_close(layer.weight, by_hand, atol=1e-6, rtol=1e-5)


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


def test_plan_trains_streams_before_what_needs_them():
    first, second = ablations.planned(list(ablations.GROUPS), [0])
    assert {run.variant for run in second if run.group == "fusion"} == set(ablations.FUSIONS)
    assert {"spatial", "temporal", "snippet spatial"} <= {r.variant for r in first}
    paths = [run.path for run in [*first, *second]]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("group", ablations.GROUPS)
def test_a_run_is_trained_kept_and_not_trained_again(group, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TWOSTREAM_PROFILE", "mini")  # is put back afterwards
    monkeypatch.setenv("ABLATION_THREADS", str(torch.get_num_threads()))
    monkeypatch.setattr(ablations, "KEPT", tmp_path)
    monkeypatch.setattr(ablations, "SHORT", 1)
    for module in ablations, original:
        small = lambda _, norm: vgg19(3, 2, 1 / 16, norm).state_dict()  # noqa: E731
        monkeypatch.setattr(module, "load_weights", small)
    course = replace(tiny, run_dir=tmp_path / "runs")
    monkeypatch.setattr(ablations, "setup", lambda *_, **__: course)
    variants = {"init": ["original"], "defects": ["temporal / rotated", "spatial / split by clip"],
                "fusion": ["sum"], "original": ["spatial", "temporal", "conv"]}  # fmt: skip
    runs = [ablations.Run(group, variant, "mini", 1, 0) for variant in variants[group]]
    said = [ablations.carry_out(run) for run in runs]
    monkeypatch.setattr(ablations, "setup", None)
    assert [ablations.carry_out(run) for run in runs] == said
    assert re.search(r" \d+\.\d% +\d+ s$", said[0])
    found = kept.load_run(runs[-1].path)
    assert found["logits"].shape == (len(tiny.test), 2) and len(found["history"]) == 1


def test_by_clip_keeps_the_numbers_and_mixes_the_groups(tiny):
    mixed = ablations.by_clip(tiny)
    assert len(mixed.train) == len(tiny.train) and len(mixed.test) == len(tiny.test)
    assert not set(mixed.train) & set(mixed.test) and set(mixed.test) != set(tiny.test)


def test_kept_runs_are_small_and_say_where_they_come_from(monkeypatch, tmp_path):
    files = sorted(kept.KEPT.glob("*/*.npz"))
    assert files, "make ablations"
    assert sum(path.stat().st_size for path in files) < 1_500_000
    for path in files:
        run = kept.load_run(path)
        meta = run["meta"]
        where = (meta[key] for key in ("group", "variant", "profile", "split", "seed"))
        assert ablations.Run(*where).path == path and meta["torch"] and meta["precision"]
        assert meta["commit"] and not meta["commit"].endswith("+"), "made by uncommitted code"
        assert run["logits"].shape == (len(run["clips"]), len(run["classes"]))
        assert np.isfinite(run["logits"]).all() and len(run["history"]) >= 4
        assert run["labels"].max() < len(run["classes"])
    monkeypatch.setattr(kept, "KEPT", tmp_path)
    with pytest.raises(FileNotFoundError, match="make ablations"):
        kept.load_group("init")


def kept_run(hits, seed=0, split=1, variant="a"):
    logits = np.where(np.array(hits)[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    return {
        "clips": np.array([f"c{split}{i}" for i in range(len(hits))]), "logits": logits,
        "labels": np.zeros(len(hits), int), "meta": dict(seed=seed, split=split, variant=variant),
    }  # fmt: skip


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


def test_gain_of_one_lucky_seed_is_not_shown():
    """Two seeds without a difference, one with a large one: over clips alone it looked certain."""
    base = [kept_run([0] * 100, s, 1, "b") for s in range(3)]
    runs = [kept_run([s == 0 and k < 30 for k in range(100)], s) for s in range(3)]
    mean, ends, each = kept.gain(runs, base)
    assert mean == pytest.approx(0.1) and each == pytest.approx([0.3, 0, 0])
    assert ends[0] == 0 < ends[1] and kept.verdict(ends) == "not shown"
    assert kept.verdict(bootstrap_interval(np.repeat([0.1, 0], [30, 70]))) == "shown"


def test_unpaired_gain_is_that_of_two_binomial_shares():
    a, b = ([kept_run([k % 5 > least for k in range(100)])] for least in (0, 1))
    gain, ends = kept.unpaired_gain(a, b)
    half = 1.96 * np.sqrt((0.8 * 0.2 + 0.6 * 0.4) / 100)
    assert gain == pytest.approx(0.2)
    assert ends == pytest.approx((gain - half, gain + half), abs=0.02)


def test_averaged_runs_are_those_of_the_table_of_methods_on_the_same_clips():
    a, b = ([kept_run(hits, s) for s in range(2)] for hits in ([1, 1, 0], [0, 1, 1]))
    fused = kept.averaged(a, b, "logit_average")
    both = {"spatial": a[0]["logits"], "temporal": b[0]["logits"]}
    assert [run["meta"]["seed"] for run in fused] == [0, 1]
    np.testing.assert_allclose(fused[0]["logits"], METHODS["logit_average"].fuse(both))
    with pytest.raises(ValueError, match="same clips"):
        kept.averaged(a, b[::-1], "average_fusion")


def test_accuracy_pools_the_splits_of_each_seed():
    right = {(1, 0): [1, 1], (2, 0): [1, 0, 0], (1, 1): [1, 0], (2, 1): [1, 1, 0]}
    rows = {key: dict.fromkeys(METHODS, np.array(v, bool)) for key, v in right.items()}
    for (_, seed), methods in rows.items():
        methods["spatial"] = np.zeros_like(methods["spatial"])
        methods["conv_fusion"] = methods["conv_fusion"] | (seed == 0)
    found = accuracy.report({"five": rows, "single": rows}, "five")
    assert found["clips"] == 5 and found["better"] == "temporal"
    tops = {k: (row["clips"], row["temporal"]["top1"]) for k, row in found["by_split"].items()}
    assert tops == {"1": (2, pytest.approx(3 / 4)), "2": (3, pytest.approx(3 / 6))}
    both = found["methods"]["temporal"]["top1"], found["views"]["single"]["temporal"]
    assert both == (pytest.approx(0.6), pytest.approx(0.6))
    assert found["runs, one view"]["split 2 seed 0"]["temporal"] == pytest.approx(1 / 3)
    gain = found["differences"]["conv_fusion − average_fusion"]
    assert gain["each_seed"] == pytest.approx([0.4, 0]) and gain["gain"] == pytest.approx(0.2)
    assert found["differences"]["conv_fusion − better stream"] == gain
    assert found["differences"]["logit_average − average_fusion"]["ci95"] == [0, 0]


# --- notebook 12 -------------------------------------------------------------------------------


def test_the_live_case_trains_anew_in_whatever_sizes_the_set_up_cell_names(tiny, capsys):
    source = Path(kept.ROOT / "notebooks" / "source" / "12_the_original_dissected.md")
    (cell,) = (c for c in re.findall(r"```python\n(.*?)```", source.read_text("utf-8"), re.S)
               if "live = " in c)  # fmt: skip
    runs = {"original": [{"history": [{"top1": 0.1}, {"top1": 0.2}]}]}
    weight = vgg19(3, 2, 1 / 16).features[0].weight.detach()
    before = sorted(tiny.run_dir.rglob("*"))
    for changes in {}, {"flow_fields": 2}, {"flow_fields": 2}:
        c = replace(tiny, profile=replace(tiny.profile, **changes))
        names = {"c": c, "torch": torch, "training": training, "kept": kept, "runs": runs,
                 "original": original, "weight": weight}  # fmt: skip
        exec(cell, names)
        assert len(names["live"]) == 2 and names["live"][0]["seconds"] > 0
    assert sorted(tiny.run_dir.rglob("*")) == before
    assert capsys.readouterr().out.count("epoch 2") == 3
