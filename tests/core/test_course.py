"""From clips on disk to results.json: parts, names of checkpoints, score files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_course import TINY

from twostream_utils import device
from twostream_utils.course import Course
from twostream_utils.data.extract import extract
from twostream_utils.experiments.fusions import MapFusion
from twostream_utils.fusion import METHODS, Method, softmax
from twostream_utils.lab import results as lab_results
from twostream_utils.lab.results import results, trained_with, write_results
from twostream_utils.profiles import INPUTS, PROFILES, Recipe, get_profile
from twostream_utils.store import FrameStore
from twostream_utils.training import parameter_groups


def groups(clips):
    return {clip.split("_")[2] for clip in clips}


def changed(course, **sizes) -> Course:
    return Course(replace(course.profile, **sizes), course.store, course.run_dir)


def test_parts_share_no_group_and_a_small_set_makes_long_epochs(tiny):
    assert tiny.classes == ["ClapOffice", "WipeBoard"]
    assert len(tiny.train) == 16 and len(tiny.test) == 8 and not tiny.val
    assert not groups(tiny.train) & groups(tiny.test)
    other = Course(replace(TINY, val_fraction=0.3), tiny.store, tiny.run_dir, split=2)
    parts = [groups(part) for part in (other.train, other.val, other.test)]
    assert sorted(map(len, parts)) == [1, 1, 1] and len(set.union(*parts)) == 3
    longer = changed(tiny, epoch_clips=40)  # 16 clips, each drawn three times
    assert len(tiny.dataset("train")) == 16 and len(longer.dataset("train")) == 48
    assert len(longer.dataset("test")) == 8


def test_what_does_not_exist_is_named(tiny):
    with pytest.raises(ValueError, match="split 4: .* folds 1 to 3"):
        Course(TINY, tiny.store, tiny.run_dir, split=4)
    for ask in tiny.recipe, tiny.scores, tiny.trained:
        with pytest.raises(ValueError, match="'audio'; there are spatial, temporal, conv"):
            ask("audio")
    with pytest.raises(ValueError, match="no part 'tset' of the clips"):
        tiny.dataset("tset")
    # The data are groups 1 to 3, all of them test groups of the official split 1.
    official = get_profile("ucf10", classes=tuple(tiny.classes))
    with pytest.raises(ValueError, match="no clips to train on: of the 24 clips .* split 1 has"):
        Course(official, tiny.store, tiny.run_dir)
    with pytest.raises(ValueError, match="no clips to test on: .* split 2 has none"):
        Course(official, tiny.store, tiny.run_dir, split=2)


def test_results_json_has_the_agreed_fields(tiny):
    found = json.loads(write_results(tiny).read_text())
    assert list(found) == [
        "profile", "split", "n_train", "n_val", "n_test", "classes", "seed", "torch", "device",
        "methods",
    ]  # fmt: skip
    assert (found["n_train"], found["n_val"], found["n_test"]) == (16, 0, 8)
    assert found["classes"] == tiny.classes
    assert list(found["methods"]) == list(METHODS)
    for row in found["methods"].values():
        assert list(row) == ["top1", "ci95", "top5", "seconds"]
        low, high = row["ci95"]
        assert 0 <= low <= row["top1"] <= high <= 1 and row["top5"] == 1.0 and row["seconds"] > 0
    spatial, temporal, average, _, conv, weighted = (
        row["seconds"] for row in found["methods"].values()
    )
    assert average == pytest.approx(spatial + temporal, abs=0.02) and weighted > conv > average


def test_networks_are_weighed_on_groups_that_they_have_not_seen(tiny, tmp_path):
    halves = [course for course, part in tiny.held_out() if part == "test"]
    assert sorted(halves[0].test + halves[1].test) == tiny.train
    for half, other in zip(halves, halves[::-1]):
        assert half.train == other.test and not groups(half.train) & groups(half.test)
        assert half.classes == tiny.classes and half.run_dir != other.run_dir
    another = replace(tiny, seed=3).held_out()
    assert [c.checkpoint("conv") for c, _ in another] == [c.checkpoint("conv") for c in halves]
    with_val = Course(replace(TINY, val_fraction=0.3), tiny.store, tmp_path, split=2)
    assert with_val.held_out() == [(with_val, "val")]
    # one group to train on: nothing to hold out, and each network counts alike
    one = dict.fromkeys(halves[0].train, "train") | dict.fromkeys(tiny.test, "test")
    alone = Course(TINY, tiny.store, tmp_path, sides=one)
    assert alone.held_out() == [] and alone.weights == ((1.0, 1.0, 1.0), 0.0)


def test_the_same_run_with_other_threads_says_how_far_figures_move(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(lab_results, "KEPT", tmp_path)
    found = lab_results.keep_as_elsewhere(tiny)
    methods = {key: row | {"top1": row["top1"] + 0.25} for key, row in found["methods"].items()}
    for other in {"device": "CPU, 64 threads, float32"}, {"device": "another", "seed": 1}:
        changed = found | {"methods": methods} | other
        monkeypatch.setattr(lab_results, "results", lambda course, other=changed: other)
        lab_results.keep_as_elsewhere(tiny)
    count, ends = lab_results.elsewhere(found)  # found itself, kept as well, and the first other
    assert count == 2 and list(ends) == list(METHODS)
    for key, (low, high) in ends.items():
        assert low == found["methods"][key]["top1"] == high - 0.25


def test_results_follow_from_the_score_files(tiny):
    before, scores = results(tiny), tiny.scores("spatial")
    path = next(tiny.run_dir.glob("split1_seed0/spatial_*.npz"))
    again = Course(TINY, tiny.store, tiny.run_dir)
    assert results(again) == before
    replace(scores, logits=scores.logits[..., ::-1]).save(path)  # two classes, each the other's
    flipped = results(again)["methods"]["spatial"]["top1"]
    assert flipped == pytest.approx(1 - before["methods"]["spatial"]["top1"])
    replace(scores, clips=scores.clips[::-1], logits=scores.logits + 1).save(path)
    made = tiny.scores("spatial")  # those were of other clips
    assert made.clips == scores.clips
    np.testing.assert_allclose(made.logits, scores.logits, atol=1e-5)


def test_results_say_where_the_networks_were_trained_not_who_reads(tiny, monkeypatch):
    before, made = results(tiny), trained_with(tiny)
    assert made["torch"] == torch.__version__ and made["device"].startswith("CPU")
    assert before["device"] == f"{made['device']}, {made['precision']}"
    monkeypatch.setattr(torch, "__version__", "99.0")
    monkeypatch.setattr(device, "describe_device", lambda where: "another machine")
    monkeypatch.setenv("TWOSTREAM_PRECISION", "fp16")
    assert results(tiny) == before
    path = tiny.checkpoint("temporal")
    kept = torch.load(path, weights_only=True)
    other = {"device": "Tesla T4, 15 GiB", "precision": "fp16", "torch": "2.9.0"}
    torch.save(kept | {"trained_with": [other]}, path)
    said = f"and Tesla T4, 15 GiB, {made['precision']} and float16"
    assert results(tiny)["device"].endswith(said)
    torch.save(kept, path)


def test_clips_and_their_parts_name_a_checkpoint(video_folder, tmp_path):
    """Another split has other networks; other classes in the same folder change nothing."""
    stores = {}
    for folder, pattern in (("a", None), ("same", r"_(g\d+)_"), ("other", r"_(.+)_g\d+_")):
        extract(video_folder, tmp_path / folder, group_pattern=pattern, workers=1)
        stores[folder] = FrameStore(tmp_path / folder)
    courses = {name: Course(TINY, store, tmp_path / "runs") for name, store in stores.items()}
    names = {name: course.checkpoint("spatial") for name, course in courses.items()}
    assert set(courses["a"].test) & set(courses["other"].train)  # what the first must not see
    assert names["a"] == names["same"] != names["other"]
    (tmp_path / "few").mkdir()
    for label in ("JumpRope", "PullUps"):
        shutil.copy(tmp_path / "a" / f"{label}.zip", tmp_path / "few")
    two = replace(TINY, classes=("JumpRope", "PullUps"))
    few, all_ = (Course(two, s, tmp_path) for s in (FrameStore(tmp_path / "few"), stores["a"]))
    assert few.checkpoint("spatial").name == all_.checkpoint("spatial").name != names["a"].name


def test_what_shapes_a_network_names_its_checkpoint_and_nothing_else_does(tiny):
    def same(**sizes):
        other = changed(tiny, **sizes)
        return [n for n in ("spatial", "temporal", "conv")
                if other.checkpoint(n) == tiny.checkpoint(n)]  # fmt: skip

    assert same(width=1 / 8) == []
    assert same(temporal=Recipe(2, 0.01)) == ["spatial"]
    assert same(fusion="seed") == ["spatial", "temporal"]
    free = {"title": "t", "data": "d", "source": "s", "flow": "tvl1", "cache_gb": 1.0}
    assert same(**free, positions=7, crops="centre") == ["spatial", "temporal", "conv"]
    own, other = (tiny.checkpoint("conv", form=form) for form in (TINY.fusion, "conv"))
    assert own == tiny.checkpoint("conv") != other


def test_scores_of_other_views_and_parts_lie_beside_the_first(tiny):
    five = tiny.scores("temporal")
    assert five.logits.shape == (8, 20, 2)  # two positions, five crops, as is and flipped
    centre = tiny.scores("temporal", crops="centre")
    assert centre.logits.shape == (8, 4, 2) and centre.clips == five.clips
    assert tiny.scores("temporal", "train").clips == tuple(tiny.train)
    for crops, kept in {"five": five, "centre": centre}.items():
        again = Course(TINY, tiny.store, tiny.run_dir).scores("temporal", crops=crops)
        assert (again.logits == kept.logits).all()


def test_a_profile_of_several_chunks_fuses_them_all(tiny, tmp_path):
    chunks = replace(TINY, rgb_frames=1, flow_fields=2, chunks=3, fusion="paper")
    course = Course(chunks, tiny.store, tmp_path)
    over_time = course.dataset("test", over_time=True)
    shapes = {name: x.shape[1] for name, x in over_time[0].items() if name in ("rgb", "flow")}
    assert shapes == {"rgb": 9, "flow": 12} and over_time.profile.rgb_step == 2 * TINY.flow_step
    assert course.dataset("test")[0]["flow"].shape[1] == 4
    assert course.scores("conv", crops="centre").logits.shape == (8, 4, 2)


def test_trunks_learn_at_a_rate_of_their_own(tiny):
    recipe = Recipe(1, 0.01, trunk_lr=0.1)
    course = changed(tiny, conv=recipe)
    assert course.checkpoint("conv") != tiny.checkpoint("conv")
    model = course.new("conv")
    rates = {p: g["lr"] for g in parameter_groups(model, recipe) for p in g["params"]}
    assert rates[model.spatial[0].weight] == pytest.approx(0.001)
    assert rates[model.temporal[0].bias] == pytest.approx(0.001)
    assert rates[model.fuse.weight] == rates[model.classifier[-1].bias] == 0.01
    frozen = tiny.new("conv")
    assert len(parameter_groups(frozen, recipe)) == 2 and not frozen.train_trunks


def test_a_new_fusion_is_a_class_and_a_line_in_the_table(tiny, monkeypatch):
    choices = {"network": MapFusion, "kind": "max"}
    of_maps = Method("Max", ("conv",), lambda z: softmax(z["conv"]), choices=choices)
    monkeypatch.setitem(METHODS, "max_fusion", of_maps)
    found = results(tiny)["methods"]
    assert list(found)[-1] == "max_fusion" and found["max_fusion"]["seconds"] > 0
    assert tiny.checkpoint("conv", **choices).exists()


def test_fusion_starts_alike_whether_its_streams_are_trained_or_loaded(tiny, tmp_path):
    fresh = Course(TINY, tiny.store, tmp_path)
    head = lambda *streams, train_trunks: torch.nn.Linear(3, 2)  # noqa: E731 (from random weights)
    trained, loaded = (fresh.new("conv", network=head) for _ in range(2))
    assert torch.equal(trained.weight, loaded.weight)


def test_recipes_count_steps_and_make_whole_epochs_of_them():
    folder, full = PROFILES["weizmann"], PROFILES["ucf101"]
    assert [Recipe(steps, 0.02).epochs(640) for steps in (100, 240, 80)] == [5, 12, 4]
    assert [getattr(folder, n).epochs(480) for n in INPUTS] == [14, 24, 4]
    assert full.temporal.epochs(9537) * 9537 == pytest.approx(3e6, rel=0.01)
    assert Recipe(1, 0.01).epochs(10_000) == 1  # at least one


def test_more_clips_get_more_steps(tiny):
    plain = changed(tiny, spatial=Recipe(10, 0.01))
    grown = changed(plain, recipe_clips=4)
    assert len(grown.train) == 16 and grown.recipe("spatial").steps == 20
    assert plain.recipe("spatial").steps == 10
    assert grown.checkpoint("spatial") != plain.checkpoint("spatial")
    assert "recipe_clips" not in PROFILES["mini"].shaping("conv")  # as it was before there was one


def test_dropout_is_a_rate_or_one_for_each_hidden_layer(tiny):
    for dropout, wanted in (0.3, [0.3, 0.3]), ((0.9, 0.8), [0.9, 0.8]):
        course = changed(tiny, spatial=Recipe(1, 0.01, dropout=dropout))
        layers = [m for m in course.new("spatial").modules() if isinstance(m, torch.nn.Dropout)]
        assert [layer.p for layer in layers] == wanted


def test_validation_is_a_single_view_every_so_many_epochs(tiny, tmp_path):
    sizes = {"val_fraction": 0.4, "val_every": 2, "spatial": Recipe(5, 0.01, batch_size=8)}
    course = replace(changed(tiny, **sizes), run_dir=tmp_path)
    clips = course.dataset("val", ("rgb",), "single")
    assert clips.clips and all(len(clips.views(i)) == 1 for i in range(len(clips)))
    assert not clips.views(0)[0].flip
    history = course.fit("spatial", course.new("spatial"))
    assert len(history) == 5
    assert [row["epoch"] for row in history if "val_top1" in row] == [2, 4, 5]


def test_profiles_refuse_what_is_none_of_them():
    with pytest.raises(ValueError, match="no profile 'tiny'; there are: mini, folder, weizmann"):
        get_profile("tiny")
    with pytest.raises(ValueError, match="no 'rgb_frame'; did you mean rgb_frames?"):
        get_profile("mini", rgb_frame=5)
    for value in "5", 0, 2.5:
        with pytest.raises(ValueError, match=f"rgb_frames must be a whole .* not {value!r}"):
            get_profile("mini", rgb_frames=value)
    same = get_profile("mini", rgb_frames=np.int64(5))  # of a loop over an array
    assert repr(same) == repr(get_profile("mini", rgb_frames=5))  # so are names of checkpoints


def test_official_splits_keep_the_two_stacks_of_the_original():
    paper = PROFILES["paper"]
    assert paper.channels == {"rgb": 3, "flow": 20}
    assert paper.over_time().channels == {"rgb": 15, "flow": 100}
    for profile in PROFILES.values():
        if profile.split_rule == "official" and profile is not paper:
            assert profile.channels == {"rgb": 30, "flow": 100}, profile.name
