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
from conftest import REPO, make_store, moving_frames, write_video

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: the dev extra")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium")

SETUP = """
import ipywidgets, numpy as np, torch
from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.evaluation import Scores
from twostream_utils.lab import own_video, own_widgets
from twostream_utils.lab.explore import first_layer, fusion, fusion_layer, pace, quantisation
from twostream_utils.profiles import get_profile
from twostream_utils.stacks import StackDataset
from twostream_utils.store import FrameStore
from twostream_utils.vgg import load_weights, vgg19

store, p = FrameStore(ROOT), get_profile("mini", positions=1)
classes = sorted(set(store.labels.values()))
clips = [k for label in classes for k in [k for k in store.clips if store.label(k) == label][:2]]
dataset = StackDataset(store, clips, classes, p, ("rgb", "flow"))
rng, labels = np.random.default_rng(0), np.arange(60) % 4
scores = [Scores(tuple(f"clip {k}" for k in labels), labels, x.astype(np.float32), tuple("ABCD"))
          for x in rng.normal(3 * np.eye(4)[labels], 2, (2, 60, 4))[:, :, None]]
torch.manual_seed(0)
model = ConvFusion(*(vgg19(n, len(classes), 0.25, True, "stills") for n in p.channels.values()))
with torch.no_grad():
    model.fuse.weight += 0.01 * torch.randn(model.fuse.weight.shape)
weight = load_weights("stills", True)["features.0.weight"]
def answer(source):
    if isinstance(source, str):
        return f"the clip {source}"
    name, data = source
    own = own_video.own_clip(data, p, "own", name=name)
    return f"{name}: {own.store.n_frames(own.clip)} frames of {own.store.size(own.clip)}"
"""
EXPLORERS = {
    "quantisation": "quantisation.quantisation_explorer(store, clips)",
    "first_layer": "first_layer.first_layer_explorer(weight, dataset)",
    "fusion": "fusion.fusion_explorer(*scores)",
    "fusion_layer": "fusion_layer.fusion_layer_explorer(model, dataset)",
    "pace": "pace.pace_explorer()",
}
CHOOSER = "own_widgets.show_chooser(clips, answer, seconds=1); print(ipywidgets.__version__)"
WIDGETS = os.environ.get("TWOSTREAM_WIDGETS", "")
WIDGETS = Path(WIDGETS).resolve() if WIDGETS else None
CUT = """() => [...document.querySelectorAll('.jp-OutputArea-output')].flatMap(output => {
    const right = output.getBoundingClientRect().right + 1;
    const parts = [...output.querySelectorAll('img, select, button, .widget-box, .widget-html')];
    return parts.filter(part => part.getBoundingClientRect().right > right)
        .map(part => part.outerHTML);
})"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab on a notebook that shows all explorers.

    Their clips are the mini set where it was made, else two classes of two short ones in its form.
    """
    root, folder = REPO / "data" / "mini", tmp_path_factory.mktemp("lab")
    if not any(root.glob("*.zip")):
        root = tmp_path_factory.mktemp("store")
        make_store(root, {"JumpRope": [12, 12], "PullUps": [12, 12]}, 72, 96)
    sources = [f"ROOT = {str(root)!r}\n{SETUP}", *EXPLORERS.values(), CHOOSER]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(book, folder / "explorers.ipynb")
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
    own = {
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": os.pathsep.join(str(path) for path in (WIDGETS, REPO) if path),
    }
    if WIDGETS:
        own["JUPYTER_PATH"] = WIDGETS / "share" / "jupyter"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--notebook-dir={folder}", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    env = {**os.environ, **{k: str(v) for k, v in own.items()}}
    with open(folder / "log.txt", "w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(240):
                assert server.poll() is None, (folder / "log.txt").read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/api", timeout=5).close()
                    break
                time.sleep(0.25)
            yield address
        finally:
            server.terminate()  # it ends its kernels
            server.wait(30)


def kernel_state(lab: str) -> str:
    """What the server says of the notebook's kernel; the page says idle before there is one."""
    with urllib.request.urlopen(f"{lab}/api/sessions") as answer:
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
        sync_api.expect.set_options(timeout=60_000)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else 0)
        page.goto(f"{lab}/lab/tree/explorers.ipynb")
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
        with contextlib.suppress(sync_api.TimeoutError):  # the tests say what is missing
            cell(page, len(EXPLORERS)).locator(".jp-OutputArea-output img").wait_for()
        yield page, complaints
        browser.close()


def cell(page, number: int):
    """A code cell of the page."""
    return page.locator(".jp-CodeCell").nth(number)


HANDLE = ".noUi-handle, .ui-slider-handle"  # of a slider in ipywidgets 8, and in 7 as Colab has it
PIXELS = """async image => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return bytes.length + ':' + bytes.reduce((sum, b, i) => (sum * 31 + b) % 1000000007, 7);
}"""


@pytest.mark.parametrize("number", range(len(EXPLORERS)), ids=list(EXPLORERS))
def test_moving_a_control_changes_the_image(notebook, number):
    page, _ = notebook
    output = cell(page, 1 + number)
    image, handles = output.locator("img"), output.locator(HANDLE)
    image.scroll_into_view_if_needed()
    words = output.locator(".widget-html")
    before, sentence = image.evaluate(PIXELS), words.inner_text()
    if handles.count():
        handles.first.focus()
        page.keyboard.press("ArrowUp")
    else:  # an explorer of menus
        output.locator("select").last.select_option(index=1)
    sync_api.expect(words).not_to_have_text(sentence)
    assert image.evaluate(PIXELS) != before
    size = image.evaluate("image => [image.naturalWidth / image.naturalHeight, "
                          "image.clientWidth / image.clientHeight]")  # fmt: skip
    assert size[0] == pytest.approx(size[1], rel=0.02)  # shown in its own shape


def test_a_video_comes_from_the_menu_the_disk_and_the_camera(notebook, tmp_path):
    page, _ = notebook
    box = cell(page, 1 + len(EXPLORERS)).locator(".twostream-own")
    sync_api.expect(box).to_contain_text("the clip v_")
    box.locator("select").select_option(index=1)
    clip = box.locator("select option").nth(1).inner_text()
    sync_api.expect(box.locator(".widget-html")).to_have_text(f"the clip {clip}")
    path = write_video(tmp_path / "dance.avi", moving_frames(20, 48, 64))
    with page.expect_file_chooser() as chooser:
        box.get_by_role("button", name="upload").click()
    chooser.value.set_files(path)
    sync_api.expect(box).to_contain_text("dance.avi: 20 frames of (48, 64)")
    record = box.get_by_role("button", name="record")
    record.click()
    webcam = re.compile(r"webcam\.webm: \d+ frames of \(\d+, \d+\)")
    sync_api.expect(box).to_contain_text(webcam)
    assert record.locator(".fa-video-camera").is_visible()


@pytest.mark.parametrize("width", [1000, 1400])
def test_nothing_is_cut_beside_the_file_browser(notebook, width):
    page, _ = notebook
    page.set_viewport_size({"width": width, "height": 1000})
    sync_api.expect(page.locator(".jp-DirListing-item").first).to_be_visible()
    with contextlib.suppress(sync_api.TimeoutError):  # it takes a moment to lay the page out anew
        page.wait_for_function(f"() => !({CUT})().length", timeout=30_000)
    assert [part[:200] for part in page.evaluate(CUT)] == []


def test_the_widgets_are_those_asked_for_and_nothing_complains(notebook):
    page, complaints = notebook
    # Printed by the notebook: this process may have others.
    version = cell(page, 1 + len(EXPLORERS)).locator("pre").last.inner_text().strip()
    if WIDGETS:
        assert (WIDGETS / f"ipywidgets-{version}.dist-info").is_dir()
    else:
        assert version == importlib.metadata.version("ipywidgets")
    failed = page.locator('[data-mime-type="application/vnd.jupyter.error"]')
    assert failed.count() == 0, failed.all_inner_texts()
    if version.startswith("7."):  # calls MathJax 2, but JupyterLab 4 has another
        complaints = [words for words in complaints if "reading 'Queue'" not in words]
    assert complaints == []
