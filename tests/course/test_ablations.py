"""The original's defects and the kept comparisons: each switch does what its name says."""

import numpy as np
import pytest
import torch
from test_stacks import dataset  # noqa: E402

from twostream_utils.evaluation import bootstrap_interval  # noqa: E402
from twostream_utils.experiments import ablations, accuracy, original
from twostream_utils.fusion import late_fusion  # noqa: E402
from twostream_utils.lab import kept  # noqa: E402
from twostream_utils.profiles import get_profile  # noqa: E402
from twostream_utils.stacks import StackDataset  # noqa: E402
from twostream_utils.vgg import vgg19  # noqa: E402

MINI = get_profile("mini")


def defective(*names, train=True) -> tuple[StackDataset, StackDataset]:
    clips = dataset(MINI, train)
    return clips, original.DefectiveClips(clips, names)


def flipped(clips) -> int:
    return next(i for i in range(len(clips)) if clips.views(i)[0].flip)


def test_without_a_defect_nothing_changes():
    clips, same = defective()
    for stream in ("rgb", "flow"):
        assert torch.equal(clips[1][stream], same[1][stream])
    with pytest.raises(ValueError, match="no defects"):
        defective("none such")


def test_jitter_crops_every_frame_for_itself():
    clips, bad = defective("jitter")
    i = flipped(clips)
    columns = lambda item: item["rgb"][0, 1::3, 0]  # green is the column of a pixel  # noqa: E731
    good = columns(clips[i])
    assert all(torch.equal(good[0], row) for row in good)
    assert len({tuple(row.tolist()) for row in columns(bad[i])}) > 5
    assert torch.equal(clips[i]["flow"], bad[i]["flow"])
    clips, bad = defective("jitter", train=False)
    assert torch.equal(clips[0]["rgb"], bad[0]["rgb"])


def test_rotated_puts_the_first_field_last():
    clips, bad = defective("rotated")
    good, bad = clips[0]["flow"][0], bad[0]["flow"][0]
    assert torch.equal(bad[-2:], good[:2]) and torch.equal(bad[:-2], good[2:])


def test_unflipped_u_differs_only_in_the_sign_of_u():
    clips, bad = defective("unflipped u")
    i = flipped(clips)
    good, bad = clips[i]["flow"][0], bad[i]["flow"][0]
    assert torch.equal(good[0::2], 255 - bad[0::2])
    assert torch.equal(good[1::2], bad[1::2])


def test_min_max_flow_fills_the_range_of_every_field():
    _, bad = defective("min-max flow")
    u = bad[0]["flow"][0, 0::2].flatten(1)
    assert (u.min(1).values == 0).all() and (u.max(1).values == 255).all()


def test_unregistered_flow_is_the_whole_field_and_fixed_frames_start_at_one():
    _, bad = defective("unregistered", "fixed frames")
    u = bad[0]["flow"][0, 0::2]
    width = MINI.short_side + 24
    assert u[0].min() < 2 and u[0].max() > width - 3 and bad.views(0)[0].start == 1
    bad.epoch = 1
    assert bad.views(0)[0].start == 1


def test_original_first_layer_has_one_filter():
    weight = torch.randn(8, 3, 3, 3)
    stack = original.original_first_layer(weight, 20)
    assert stack.shape == (8, 20, 3, 3)
    assert torch.allclose(stack, weight[0].mean(0).expand(8, 20, 3, 3), atol=1e-6)
    for which in original.FIRST_LAYERS:
        model = vgg19(20, 5, width=1 / 8)
        with torch.no_grad():
            model.features[0].bias.fill_(3)
        original.with_first_layer(model, weight, which)
        kept = which in ("mean", "mean, rescaled")
        assert bool((model.features[0].bias == 3).all()) == kept, which
        scale = {"mean": 1, "mean, no bias": 1, "mean, rescaled": 3 / 20}.get(which)
        if scale:
            torch.testing.assert_close(
                model.features[0].weight[:, 7], weight.mean(1) * scale, atol=1e-6, rtol=1e-5
            )


def test_folding_batch_norm_keeps_the_function():
    torch.manual_seed(0)
    model = vgg19(3, 7, width=1 / 16, batch_norm=True)
    for _ in range(3):
        model(torch.randn(8, 3, 64, 64))  # moves the running statistics
    state = original.without_batch_norm(model.state_dict(), 1 / 16)
    plain = vgg19(3, 7, width=1 / 16, weights=state).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(plain(x), model.eval()(x), atol=1e-4, rtol=1e-4)


def test_original_fusion_runs_and_frames_its_maps_with_a_constant():
    torch.manual_seed(0)
    fusion = original.OriginalFusion(vgg19(30, 5, 1 / 16), vgg19(100, 5, 1 / 16)).eval()
    assert fusion(torch.randn(2, 30, 64, 64), torch.randn(2, 100, 64, 64)).shape == (2, 5)
    maps = fusion.fuse(torch.randn(1, 64, 1, 7, 7))
    assert maps.shape == (1, 32, 3, 9, 9) and (maps[0, :, 0].std(dim=(1, 2)) < 1e-6).all()


def test_plan_trains_streams_before_what_needs_them():
    first, second = ablations.planned(list(ablations.GROUPS), [0])
    assert {run.variant for run in second if run.group == "fusion"} == set(ablations.FUSIONS)
    assert {"spatial", "temporal", "snippet spatial"} <= {r.variant for r in first}
    paths = [run.path for run in [*first, *second]]
    assert len(set(paths)) == len(paths)


def test_by_clip_keeps_the_numbers_and_mixes_the_groups():
    class Clips:
        train = [f"a{i}" for i in range(30)]
        val, test, seed = ["v0", "v1"], [f"t{i}" for i in range(10)], 0

    mixed = ablations.by_clip(Clips())
    assert len(mixed.train) == 30 and len(mixed.test) == 10 and not mixed.val
    assert not set(mixed.train) & set(mixed.test)
    assert set(mixed.test) != set(Clips.test)


def test_kept_runs_are_small_and_say_where_they_come_from():
    files = sorted(kept.KEPT.glob("*/*.npz"))
    assert files, "make ablations"
    assert sum(path.stat().st_size for path in files) < 1_500_000
    for path in files:
        run = kept.load_run(path)
        meta = run["meta"]
        rebuilt = ablations.Run(
            *(meta[k] for k in ("group", "variant", "profile", "split", "seed"))
        )
        assert rebuilt.path == path and meta["torch"] and meta["precision"]
        assert meta["commit"] and not meta["commit"].endswith("+"), "made by uncommitted code"
        assert run["logits"].shape == (len(run["clips"]), len(run["classes"]))
        assert np.isfinite(run["logits"]).all() and len(run["history"]) >= 4
        assert run["labels"].max() < len(run["classes"])


def test_missing_group_says_what_to_do(monkeypatch, tmp_path):
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
    runs = [
        kept_run([1, 1, 0], 0, 1), kept_run([1, 0], 0, 2),
        kept_run([1, 0, 0], 1, 1), kept_run([1, 1], 1, 2),
    ]  # fmt: skip
    mean, (low, high), each = kept.top1(runs)
    assert mean == pytest.approx(0.6) and each == pytest.approx([0.6, 0.6])
    assert low < 0.6 < high
    worse = [kept_run([0, 0, 0], 0, 1, "b"), kept_run([1, 0], 0, 2, "b")]
    difference, _, each = kept.gain(runs, worse)
    assert difference == pytest.approx(2 / 5)  # seed 0 alone: it is the only common one
    assert each == pytest.approx([2 / 5])
    with pytest.raises(ValueError, match="'a' and 'b'"):
        kept.gain(runs, [kept_run([1, 1], 0, 1, "b")])


def test_interval_draws_seeds_and_clips():
    rng = np.random.default_rng(0)
    clips = rng.random((1, 200)) < 0.8
    assert kept.interval(clips) == pytest.approx(bootstrap_interval(clips[0]), abs=0.01)
    # Seeds that agree on every clip add nothing; seeds that differ as wholes widen it.
    same = kept.interval(np.repeat(clips, 3, axis=0))
    assert same == pytest.approx(kept.interval(clips), abs=0.01)
    apart = np.stack([np.arange(200) < n for n in (100, 150, 200)])
    low, high = kept.interval(apart)
    assert low < 0.6 and high > 0.9
    by_clip = bootstrap_interval(apart.mean(axis=0))
    assert high - low > 2 * (by_clip[1] - by_clip[0])
    # All clips alike: what is left is the spread of the drawn seeds, of which there are two.
    low, high = kept.interval(np.array([[1] * 50, [0] * 50]))
    assert (low, high) == (0, 1)


def test_gain_of_one_lucky_seed_is_not_shown():
    """Two seeds without a difference, one with a large one: over clips alone it looked certain."""
    base = [kept_run([0] * 100, s, 1, "b") for s in range(3)]
    runs = [kept_run([s == 0 and k < 30 for k in range(100)], s) for s in range(3)]
    mean, (low, high), each = kept.gain(runs, base)
    assert mean == pytest.approx(0.1) and each == pytest.approx([0.3, 0, 0])
    assert low == 0 < high
    assert bootstrap_interval(np.repeat([0.1, 0], [30, 70]))[0] > 0


def test_unpaired_gain_is_wider_than_the_paired_one():
    a = [kept_run([k % 5 > 0 for k in range(100)], s) for s in range(2)]
    b = [kept_run([k % 5 > 1 for k in range(100)], s, variant="b") for s in range(2)]
    other, (low, high) = kept.unpaired_gain(a, b)
    mean, paired, _ = kept.gain(a, b)
    assert other == pytest.approx(mean) == pytest.approx(0.2)
    assert low < paired[0] and high > paired[1] and low < 0.2 < high
    shorter = [kept_run([1, 1, 0])]
    assert kept.unpaired_gain(shorter, b)[0] == pytest.approx(2 / 3 - 0.6)


def test_a_difference_is_shown_if_its_interval_does_not_hold_0():
    said = [kept.verdict(ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0, 1))]
    assert said == ["shown", "shown", "not shown", "not shown"]


def test_averaged_runs_are_those_of_late_fusion_on_the_same_clips():
    a = [kept_run([1, 1, 0], s) for s in range(2)]
    b = [kept_run([0, 1, 1], s) for s in range(2)]
    for space in "softmax", "logit":
        fused = kept.averaged(a, b, space)
        assert [run["meta"]["seed"] for run in fused] == [0, 1]
        assert fused[0]["logits"] == pytest.approx(
            late_fusion(a[0]["logits"], b[0]["logits"], space=space)
        )
    with pytest.raises(ValueError, match="same clips"):
        kept.averaged(a, b[::-1])


# --- experiments/accuracy.py ------------------------------------------------------------------


def test_accuracy_pools_the_splits_of_each_seed():
    right = {
        (1, 0): [1, 1], (2, 0): [1, 0, 0], (1, 1): [1, 0], (2, 1): [1, 1, 0],
    }  # fmt: skip
    rows = {key: dict.fromkeys(accuracy.METHODS, np.array(v, bool)) for key, v in right.items()}
    for (_, seed), methods in rows.items():
        methods["spatial"] = np.zeros_like(methods["spatial"])
        if seed == 0:
            methods["conv_fusion"] = np.ones_like(methods["conv_fusion"])
    found = accuracy.report({"five": rows, "single": rows}, "five", [0, 1])
    assert found["clips"] == 5 and found["better"] == "temporal"
    assert found["methods"]["temporal"]["top1"] == pytest.approx(0.6)
    assert found["by_split"]["1"]["temporal"]["top1"] == pytest.approx(3 / 4)
    assert found["by_split"]["2"]["temporal"]["top1"] == pytest.approx(3 / 6)
    assert (found["by_split"]["1"]["clips"], found["by_split"]["2"]["clips"]) == (2, 3)
    assert found["views"]["single"]["temporal"] == pytest.approx(0.6)
    assert found["runs"]["split 2 seed 0"]["temporal"] == pytest.approx(1 / 3)
    assert found["runs, one view"] == found["runs"]
    ahead = found["differences"]["conv_fusion − average_fusion"]
    assert ahead["each_seed"] == pytest.approx([0.4, 0]) and ahead["gain"] == pytest.approx(0.2)
    assert found["differences"]["conv_fusion − better stream"] == ahead
    assert found["differences"]["logit_average − average_fusion"]["ci95"] == [0, 0]
