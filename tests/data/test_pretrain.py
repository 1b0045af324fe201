"""Pre-training on a folder of photographs: read as is or from a zip, trained, gone on with."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from twostream_utils.vgg import load_weights, vgg19

SCRIPT = Path(__file__).resolve().parents[2] / "data_scripts" / "pretrain.py"


@pytest.fixture
def photos(tmp_path):
    """Two classes of noise in two colours, one of the images not square."""
    rng = np.random.default_rng(0)
    for part, count in ("train", 4), ("val", 2):
        for label, colour in ("blue", (1.0, 0.4, 0.2)), ("red", (0.2, 0.4, 1.0)):
            folder = tmp_path / "photos" / part / label
            folder.mkdir(parents=True)
            for k in range(count):
                image = rng.integers(0, 256, (64, 64 + 20 * (k == 0), 3)) * np.array(colour)
                cv2.imwrite(str(folder / f"{k}.jpg"), image.astype(np.uint8))
    return tmp_path / "photos"


def run(*options) -> None:
    words = [str(option) for option in options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(SCRIPT), *words, "--batch-size", "4", "--terms", "noise"])
        runpy.run_path(str(SCRIPT), run_name="__main__")


def test_trains_on_a_zip_of_photographs_and_does_not_train_twice(photos, tmp_path):
    zipped = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", photos))
    out, checkpoint = tmp_path / "w.safetensors", tmp_path / "c.pt"
    start = "--start", "stills"
    run("--photos", zipped, *start, "--epochs", 2, "--out", out, "--checkpoint", checkpoint)
    log = json.loads(out.with_suffix(".json").read_text())
    assert log["images"] == "8 photographs of 2 classes" and log["terms"] == "noise"
    assert log["start"] == "stills"
    assert [row["steps"] for row in log["epochs"]] == [2, 4] and 0 <= log["held_out_top1"][0] <= 1
    vgg19(30, 5, 0.25, batch_norm=True, weights=load_weights(out, True), first_layer="inflate")
    before = out.read_bytes()
    run("--photos", photos, "--epochs", 2, "--out", out, "--checkpoint", checkpoint)
    assert out.read_bytes() == before
