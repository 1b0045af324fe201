"""The explorers in a real JupyterLab, in a real browser: run all, move a control, look again.

TWOSTREAM_WIDGETS names a folder of other widgets (`pip install --target`), such as Colab's:
`make colab-check` fills one with ipywidgets 7.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from conftest import REPO, moving_frames, write_video

from twostream_utils.data.shards import ShardWriter, encode_clip

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: the dev extra")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")

SETUP = """
import ipywidgets, numpy as np, torch
from twostream_utils.lab import own_video, own_widgets
from twostream_utils.evaluation import Scores
from twostream_utils.lab.explore.clip import clip_explorer
from twostream_utils.lab.explore.first_layer import first_layer_explorer
from twostream_utils.lab.explore.fusion import fusion_explorer
from twostream_utils.lab.explore.fusion_layer import fusion_layer_explorer
from twostream_utils.lab.explore.pace import pace_explorer
from twostream_utils.lab.explore.quantisation import quantisation_explorer
from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import StackDataset
from twostream_utils.store import FrameStore
from twostream_utils.vgg import load_weights, vgg19

store = FrameStore(ROOT)
clips = [clip for label in sorted(set(store.labels.values()))
         for clip in [k for k in store.clips if store.label(k) == label][:2]]
classes = sorted(set(store.labels.values()))
p = get_profile("mini", positions=1)
dataset = StackDataset(store, clips, classes, p, ("rgb", "flow"))
rng = np.random.default_rng(0)
labels = np.arange(60) % 4
logits = [(3 * np.eye(4)[labels] + rng.normal(0, 2, (60, 4)))[:, None].astype(np.float32)
          for _ in range(2)]
spatial, temporal = (Scores(tuple(f"clip {k}" for k in range(60)), labels, x, tuple("ABCD"))
                     for x in logits)
torch.manual_seed(0)
model = ConvFusion(vgg19(3 * p.rgb_frames, len(classes), 0.25, True, "mini"),
                   vgg19(2 * p.flow_fields, len(classes), 0.25, True, "mini"))
with torch.no_grad():
    model.fuse.weight += 0.01 * torch.randn(model.fuse.weight.shape)
def answer(source):
    if isinstance(source, str):
        return f"the clip {source}"
    name, data = source
    own = own_video.own_clip(data, p, "own", name=name)
    return f"{name}: {own.store.n_frames(own.clip)} frames of {own.store.size(own.clip)}"
"""
EXPLORERS = {
    "clip": "clip_explorer(store, p, clips)",
    "quantisation": "quantisation_explorer(store, clips)",
    "first_layer": 'first_layer_explorer(load_weights("mini", True)["features.0.weight"], dataset)',
    "fusion": "fusion_explorer(spatial, temporal)",
    "fusion_layer": "fusion_layer_explorer(model, dataset)",
    "pace": "pace_explorer()",
}
WIDGETS = os.environ.get("TWOSTREAM_WIDGETS", "")
WIDGETS = Path(WIDGETS).resolve() if WIDGETS else None
CHOOSER = "own_widgets.show_chooser(clips, answer, seconds=1); print(ipywidgets.__version__)"


@pytest.fixture(scope="module")
def clips_folder(tmp_path_factory) -> Path:
    """The mini set where it was made, else two classes of two short clips in its form."""
    if any((REPO / "data" / "mini").glob("*.zip")):
        return REPO / "data" / "mini"
    root = tmp_path_factory.mktemp("store")
    for label in "JumpRope", "PullUps":
        with ShardWriter(root / f"{label}.zip") as shard:
            for number in 1, 2:
                clip = f"v_{label}_g01_c{number:02d}"
                meta = {"label": label, "group": "g01", "source": "test", "fps": 25.0}
                meta |= {"frames": 12, "flow": "dis"}
                frames = moving_frames(12, 72, 96, seed=number)
                shard.add(encode_clip(clip, frames), {clip: meta})
    return root


@pytest.fixture(scope="module")
def lab(clips_folder, tmp_path_factory):
    """Address of a JupyterLab on a notebook that shows all explorers."""
    folder = tmp_path_factory.mktemp("lab")
    sources = [f"ROOT = {str(clips_folder)!r}\n{SETUP}", *EXPLORERS.values(), CHOOSER]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "explorers.ipynb"
    )
    # Cells out of sight are drawn too; no news from the internet.
    for plugin, settings in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = folder / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    widgets = WIDGETS and str(WIDGETS)
    own = {
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (widgets, str(REPO)))),
    }
    if widgets:
        own["JUPYTER_PATH"] = WIDGETS / "share" / "jupyter"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--notebook-dir={folder}", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    with open(folder / "log.txt", "w") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **{k: str(v) for k, v in own.items()}},
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(240):
                assert server.poll() is None, (folder / "log.txt").read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/api", timeout=5).close()
                    break
                time.sleep(0.25)
            yield f"{address}/lab/tree/explorers.ipynb"
        finally:
            server.terminate()  # it ends its kernels
            server.wait(30)


def kernel_state(lab: str) -> str:
    """What the server says of the notebook's kernel; the page says idle before there is one."""
    server = lab.removesuffix("/lab/tree/explorers.ipynb")
    with urllib.request.urlopen(f"{server}/api/sessions") as answer:
        return "".join(session["kernel"]["execution_state"] for session in json.load(answer))


@pytest.fixture(scope="module")
def notebook(lab):
    """The page after *Run All Cells*, and what its console complained about."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]  # a camera
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else 0)
        page.goto(lab)
        which_kernel = page.locator(".jp-Dialog-button.jp-mod-accept")
        for _ in range(240):
            if which_kernel.is_visible():  # a busy server lists its kernels too late
                which_kernel.click()
                which_kernel.wait_for(state="hidden")
            if kernel_state(lab) == "idle":
                break
            page.wait_for_timeout(500)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
        prompt = "document.querySelector('.jp-CodeCell .jp-InputPrompt')"
        begun = f"() => !['', '[ ]:'].includes({prompt}.innerText.trim())"
        for _ in range(5):  # a kernel that has only just come up may lose the request
            with contextlib.suppress(sync_api.TimeoutError):
                page.get_by_role("menuitem", name="Run", exact=True).click(timeout=5_000)
                run_all = page.locator(".lm-Menu").get_by_text("Run All Cells", exact=True)
                run_all.click(timeout=5_000)
                page.wait_for_function(begun, timeout=5_000)
                break
        last = page.locator(".jp-CodeCell").nth(len(EXPLORERS)).locator(".jp-OutputArea-output")
        with contextlib.suppress(sync_api.TimeoutError):  # the tests say what is missing
            last.locator("img").wait_for()
        yield page, complaints
        browser.close()


HANDLE = ".noUi-handle, .ui-slider-handle"  # of a slider in ipywidgets 8, and in 7 as Colab has it
PIXELS = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return bytes.length + ':' + bytes.reduce((sum, b, i) => (sum * 31 + b) % 1000000007, 7);
}"""


@pytest.mark.parametrize("name", EXPLORERS)
def test_moving_a_control_changes_the_picture(notebook, name):
    page, _ = notebook
    output = page.locator(".jp-CodeCell").nth(1 + list(EXPLORERS).index(name))
    image, handle = output.locator("img"), output.locator(HANDLE).first
    image.scroll_into_view_if_needed()
    before, sentence = image.evaluate(PIXELS), output.locator(".widget-html").inner_text()
    handle.focus()
    page.keyboard.press("ArrowUp")
    for _ in range(100):
        if image.evaluate(PIXELS) != before:
            break
        page.wait_for_timeout(100)
    if folder := os.environ.get("TWOSTREAM_SCREENSHOTS"):
        output.screenshot(path=Path(folder) / f"explorer_{name}.png")
    assert image.evaluate(PIXELS) != before
    assert output.locator(".widget-html").inner_text() != sentence
    size = image.evaluate("image => [image.naturalWidth / image.naturalHeight, "
                          "image.clientWidth / image.clientHeight]")  # fmt: skip
    assert size[0] == pytest.approx(size[1], rel=0.02)  # shown in its own shape


def test_play_runs_through_the_clip_until_stopped(notebook):
    page, _ = notebook
    output = page.locator(".jp-CodeCell").nth(1 + list(EXPLORERS).index("clip"))
    image, seen = output.locator("img"), set()
    output.locator(".widget-play button").first.click()
    for _ in range(100):
        seen.add(image.evaluate(PIXELS))
        if len(seen) > 3:
            break
        page.wait_for_timeout(100)
    output.locator(".widget-play button", has=page.locator(".fa-stop")).click()
    assert len(seen) > 3


def test_a_video_comes_from_the_menu_the_disk_and_the_camera(notebook, tmp_path):
    page, _ = notebook
    cell = page.locator(".jp-CodeCell").nth(1 + len(EXPLORERS))
    box = cell.locator(".twostream-own")
    sync_api.expect(box).to_contain_text("the clip v_")
    box.locator("select").select_option(index=1)
    clip = box.locator("select option").nth(1).inner_text()
    sync_api.expect(box.locator(".widget-html")).to_have_text(f"the clip {clip}")
    path = write_video(tmp_path / "dance.avi", moving_frames(20, 48, 64))
    with page.expect_file_chooser() as chooser:
        box.get_by_role("button", name="upload").click()
    chooser.value.set_files(path)
    sync_api.expect(box).to_contain_text("dance.avi: 20 frames of (48, 64)", timeout=20_000)
    record = box.get_by_role("button", name="record")
    record.click()
    webcam = re.compile(r"webcam\.webm: \d+ frames of \(\d+, \d+\)")
    sync_api.expect(box).to_contain_text(webcam, timeout=30_000)
    assert record.locator(".fa-video-camera").is_visible()
    if folder := os.environ.get("TWOSTREAM_SCREENSHOTS"):
        cell.screenshot(path=Path(folder) / "chooser.png")


def version_of_widgets(page) -> str:
    """What the notebook printed, which is not what this process has if WIDGETS are given."""
    return page.locator(".jp-CodeCell").nth(1 + len(EXPLORERS)).locator("pre").last.inner_text()


def test_the_widgets_are_those_that_were_asked_for(notebook):
    version = version_of_widgets(notebook[0]).strip()
    if WIDGETS:
        assert (WIDGETS / f"ipywidgets-{version}.dist-info").is_dir()
    else:
        assert version == importlib.metadata.version("ipywidgets")


def test_neither_console_nor_outputs_hold_an_error(notebook):
    page, complaints = notebook
    failed = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert failed.count() == 0, failed.all_inner_texts()
    if version_of_widgets(page).startswith("7."):  # calls MathJax 2, but JupyterLab 4 has another
        complaints = [words for words in complaints if "reading 'Queue'" not in words]
    assert complaints == []
