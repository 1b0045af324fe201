"""Several processes train and score together as one would; two on the CPU, through gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_stacks import dataset

from twostream_utils import training
from twostream_utils.device import processes
from twostream_utils.evaluation import Scores, score, validate
from twostream_utils.profiles import Recipe, get_profile
from twostream_utils.vgg import vgg19

PROFILE = get_profile("mini", rgb_frames=2, crop=32, short_side=40, positions=1)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def work(folder: str) -> None:
    """Train and score, without batch norm and with it, and keep what this process found."""
    for norm in False, True:
        out, (rank, count) = Path(folder, "norm" if norm else "plain"), processes()
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        model = vgg19(6, 2, width=1 / 16, dropout=0.0, batch_norm=norm)
        train = dataset(PROFILE, streams=("rgb",), repeat=4)  # 24 clips: three batches of 8
        val = dataset(PROFILE, train=False, streams=("rgb",))
        val.clips, val.labels = val.clips[:5], val.labels[:5]  # an odd number: unequal shares
        seen = []  # the network as it was validated, and as it was handed back

        def watched(model, *arguments, seen=seen):
            seen.append({k: v.clone() for k, v in model.state_dict().items()})
            return validate(model, *arguments)

        # Three epochs in any case.
        recipe = Recipe(9 * count, 0.02 if norm else 0.2, batch_size=8 // count, dropout=0.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "validate", watched)
            history = training.fit(model, train, recipe, out / "model.pt", val)
        torch.save([*seen, model.state_dict()], out / f"seen{rank}.pt")
        read = val.store.decoded
        score(model, val, at_once=4).save(out / f"scores{rank}.npz")
        found = {"rank": [rank, count], "history": history, "read": val.store.decoded - read}
        (out / f"{rank}.json").write_text(json.dumps(found))


def found_by(folder: Path, count: int) -> list[dict]:
    """What each of the processes found, whose histories must agree."""
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
    assert [one["rank"] for one in found] == [[rank, count] for rank in range(count)]
    for row, *others in zip(*(one["history"] for one in found)):
        assert all(row | {"seconds": 0} == other | {"seconds": 0} for other in others)
    return found


@pytest.mark.parametrize("how", ["torchrun", pytest.param("notebook", marks=pytest.mark.slow)])
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path, precision, how):
    """And score with one network, also where batch norm in each has seen other clips."""
    precision("no")
    work(tmp_path / "one")
    done = subprocess.run(
        [sys.executable, *(TORCHRUN if how == "torchrun" else ()), __file__, tmp_path / "two", how],
        capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (one,), two = found_by(tmp_path / "one/plain", 1), found_by(tmp_path / "two/plain", 2)
    history = one["history"]
    for row, expected in zip(two[0]["history"], history, strict=True):
        for name in set(row) - {"seconds"}:
            assert row[name] == pytest.approx(expected[name], abs=1e-4), name
    assert history[0]["loss"] - history[-1]["loss"] > 1e-3  # it learns: equal curves say something
    alone = Scores.load(tmp_path / "one/plain/scores0.npz")
    for rank in range(2):
        scores = Scores.load(tmp_path / f"two/plain/scores{rank}.npz")
        assert scores.clips == alone.clips
        np.testing.assert_array_equal(scores.labels, alone.labels)
        np.testing.assert_allclose(scores.logits, alone.logits, atol=1e-4)
    read = [found["read"] for found in two]
    assert sum(read) == one["read"] and min(read) > 0  # every clip by one of them, once
    found_by(tmp_path / "two/norm", 2)
    first, second = (torch.load(tmp_path / f"two/norm/seen{rank}.pt") for rank in range(2))
    assert len(first) == 4  # at three validations, and as they were handed back
    for a, b in zip(first, second):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6, msg=name)


if __name__ == "__main__":
    if sys.argv[2] == "notebook":
        from accelerate import notebook_launcher

        notebook_launcher(work, (sys.argv[1],), num_processes=2)
    else:
        work(sys.argv[1])
