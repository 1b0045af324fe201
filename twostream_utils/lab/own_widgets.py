"""Notebook 10: bars of what is predicted, a film of where both streams find it, and the chooser
of a video: a clip of the course, an upload, or the webcam.

Core widgets only, and the API that ipywidgets 7 (Colab) and 8 share.
"""

from __future__ import annotations

import base64
import html
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2
import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image

from ..data.video import VideoError
from ..flow import decode
from ..fusion import METHODS
from ..profiles import Profile
from ..stacks import crop_frames
from ..store import FrameStore
from ..vgg import VGG
from ..views import eval_views, span
from .flow_plots import fastest, with_small_wheel
from .gradcam import clip_cams, shown_pair, spotlight
from .own_networks import Prediction, Trained
from .own_video import OwnClip, own_clip
from .plots import BLUE, ORANGE, WIDTH, check_alt, picture

TITLE, GAP, INK = 20, 6, (34, 34, 34)
WHEEL = 5  # the colour wheel takes a fifth of the height of an image of flow
FILM_BYTES = 300_000
Source = str | tuple[str, bytes]  # a clip of the course, or the name and bytes of a video

# record() resolves to a data URL. In JupyterLab a click on the button of a .twostream-own box
# records, and hands the text over through the box's hidden text area: the one core widget that
# carries a page's text to the kernel.
RECORDER = """
async function record(seconds) {
  if (!navigator.mediaDevices || !window.MediaRecorder)
    throw new Error("this browser gives no camera to this page (it does so on localhost or https)");
  const stream = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}});
  const recorder = new MediaRecorder(stream, {videoBitsPerSecond: 1000000});
  const parts = [];
  recorder.ondataavailable = event => parts.push(event.data);
  const stopped = new Promise(done => { recorder.onstop = done; });
  recorder.start();
  await new Promise(done => setTimeout(done, 1000 * seconds));
  recorder.stop();
  await stopped;
  stream.getTracks().forEach(track => track.stop());
  return await new Promise(done => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(new Blob(parts, {type: recorder.mimeType}));
  });
}
"""
LISTENER = """
if (!window.twostreamRecorder) {
  window.twostreamRecorder = true;
  document.addEventListener("click", async event => {
    const button = event.target.closest(".twostream-record button, button.twostream-record");
    if (!button) return;
    const area = button.closest(".twostream-own").querySelector(".twostream-bytes textarea");
    const label = button.innerHTML;
    button.textContent = "recording …";
    let text;
    try { text = await record(SECONDS); } catch (error) { text = "error:" + error.message; }
    button.innerHTML = label;
    area.value = text;
    area.dispatchEvent(new Event("input", {bubbles: true}));
    area.dispatchEvent(new Event("change", {bubbles: true}));
  });
}
"""


def top_bars(predicted: Prediction, k: int = 5) -> Figure:
    """Draw the ``k`` best classes of each method, probabilities in %.

    The answer is orange wherever it appears.
    """
    answer, rows = predicted.answer, -(-len(predicted.scores) // 3)
    size = (WIDTH, rows * (0.7 + 0.21 * min(k, len(predicted.classes))))
    fig, axes = plt.subplots(rows, 3, figsize=size, squeeze=False)
    for axis, method in zip(axes.flat, predicted.scores):
        names, values = zip(*predicted.top(method, k)[::-1])
        percent = 100 * np.array(values)
        bars = axis.barh(names, percent, color=[ORANGE if n == answer else BLUE for n in names])
        axis.bar_label(bars, [f"{value:.0f}" for value in percent], fontsize=9, padding=2)
        axis.set(title=METHODS[method].title, xlim=(0, 112), xticks=(0, 50, 100), xlabel="%")
    for axis in axes.flat[len(predicted.scores) :]:
        axis.remove()
    return fig


def describe(predicted: Prediction) -> str:
    """Say in a sentence what the bars show: the alt text of :func:`top_bars`."""
    best = [
        f"{METHODS[m].title} {name} {100 * p:.0f} %"
        for m in predicted.scores
        for name, p in predicted.top(m, 1)
    ]
    return f"the five best classes of each method for {predicted.clip}; first: " + ", ".join(best)


def gradcam_film(
    networks: Mapping[str, VGG], store: FrameStore, clip: str, profile: Profile, target: int,
    side: int = 160, most: int = 48,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """A clip with what the spatial stream looks at beside its flow with what the temporal one does.

    For each frame shown, the stacks are taken that have it nearest to their middle; near both ends
    of a clip, and in a short one throughout, that is the same stack for many frames, so the light
    stands still while the picture moves. At most ``most`` frames are shown, evenly spread. The
    flow has one scale throughout: its colour wheel stands in the corner, and the title says how
    many px per frame its rim stands for.

    Returns ``(T, side + 20, 2·side + 6, 3)`` uint8 RGB and the milliseconds that a frame stays.
    """
    numbers = store.flow_numbers(clip)
    numbers = numbers[:: -(-len(numbers) // most)].tolist()
    centre = eval_views(store.n_frames(clip), store.size(clip), profile)[0]
    last = 1 + max(store.n_frames(clip) - span(profile), 0)
    starts = [min(max(1, number - span(profile) // 2), last) for number in numbers]
    unique = sorted(set(starts))
    views = [replace(centre, start=start) for start in unique]
    cams = [
        clip_cams(networks[stream], stream, store, clip, views, profile, target)
        for stream in ("spatial", "temporal")
    ]
    fields = crop_frames(store.read_flow(clip, numbers), centre, centre.side)
    top = fastest(decode(fields), 0.999)
    film = np.full((len(numbers), TITLE + side, 2 * side + GAP, 3), 255, np.uint8)
    for frame, number, start in zip(film, numbers, starts, strict=True):
        pair = shown_pair(store, clip, number, centre, side, top)
        titles = "spatial stream", f"temporal, rim {top:.1f} px/frame"
        for k, (image, name) in enumerate(zip(pair, titles)):
            x = k * (side + GAP)
            lit = spotlight(image, cams[k][unique.index(start)])
            frame[TITLE:, x : x + side] = with_small_wheel(lit, side // WHEEL) if k else lit
            font = cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA
            cv2.putText(frame, name, (x + 2, TITLE - 6), *font)
    return film, 40 * (numbers[1] - numbers[0] if len(numbers) > 1 else 1)


def webp(film: np.ndarray, milliseconds: int, limit: int = FILM_BYTES) -> bytes:
    """Encode ``(T, H, W, 3)`` uint8 as an endless animated WebP of at most ``limit`` bytes.

    The quality goes down until it fits. Raises ``ValueError`` if the poorest does not fit either.
    """
    images = [Image.fromarray(frame) for frame in film]
    for quality in 75, 60, 45, 30, 15, 5:
        out = io.BytesIO()
        images[0].save(
            out, "WEBP", save_all=True, append_images=images[1:], duration=milliseconds, loop=0,
            quality=quality, method=4,
        )  # fmt: skip
        if out.tell() <= limit:
            return out.getvalue()
    raise ValueError(
        f"{len(film)} frames of {film.shape[2]}x{film.shape[1]} px do not fit into {limit} bytes: "
        "show fewer or smaller ones"
    )


def film_html(film: np.ndarray, milliseconds: int, alt: str) -> str:
    """Return the film as an ``<img>`` with alt text, the whole WebP inside.

    Raises ``ValueError`` for an alt text that says nothing, or a film that is too large.
    """
    check_alt(alt, "film")
    data = base64.b64encode(webp(film, milliseconds)).decode()
    source = f'src="data:image/webp;base64,{data}"'
    return f'<img {source} alt="{html.escape(alt)}" style="max-width:100%">'


def show_film(film: np.ndarray, milliseconds: int, alt: str) -> None:
    """Show a film with a text for those who cannot see it, as ``plots.show`` does for figures."""
    bundle = {"text/html": film_html(film, milliseconds, alt), "text/plain": alt}
    display(bundle, raw=True)


# --- the chooser ----------------------------------------------------------------------------------


def colab_script(seconds: float) -> str:
    """Return the JavaScript that Colab's ``eval_js`` runs: a promise of what ``recorded`` reads."""
    call = f"return await record({seconds:g});"
    call = f"try {{ {call} }} catch (error) {{ return 'error:' + error.message; }}"
    return f"(async () => {{{RECORDER}\n{call}\n}})()"


def uploaded(value: Mapping | Sequence) -> tuple[str, bytes] | None:
    """Name and bytes of the last file in the ``value`` of a ``FileUpload``; None if there is none.

    ipywidgets 7 gives ``{name: {"content": bytes, …}}``, 8 a tuple of
    ``{"name", "content": memoryview, …}``.
    """
    if not value:
        return None
    if isinstance(value, Mapping):
        name, entry = list(value.items())[-1]
        return name, bytes(entry["content"])
    return value[-1]["name"], bytes(value[-1]["content"])


def recorded(text: str) -> tuple[str, bytes]:
    """Name and bytes of a recording that the browser handed over as a data URL.

    Raises ``VideoError`` with the browser's reason if it could not record.
    """
    if text.startswith("error:"):
        reason = text.removeprefix("error:")
        raise VideoError("webcam", f"{reason}. Record with another program and upload the file")
    head, _, data = text.partition(";base64,")
    if not head.startswith("data:video/") or not data:
        raise VideoError("webcam", "the browser handed over no video. Try again, or upload a file")
    kind = head.removeprefix("data:video/").split(";")[0]
    return f"webcam.{'mp4' if kind == 'mp4' else 'webm'}", base64.b64decode(data)


def answer_html(
    networks: Trained, source: Source, store: FrameStore, folder: str | os.PathLike
) -> str:
    """Ask trained ``networks`` about ``source``; return notes, bars and Grad-CAM film as HTML.

    Clips are those of ``store``, uploads go through ``folder``. Raises ``VideoError`` as
    ``own_clip``.
    """
    if isinstance(source, str):
        own = OwnClip(store, source)
    else:
        name, data = source
        own = own_clip(data, networks.profile, folder, name=name)
    predicted = networks.predict(own.store, own.clip)
    title = METHODS[predicted.method].title
    said = f"{title} says {predicted.answer}. {networks.record(predicted.answer)}"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in (said, *own.notes))
    page = f"<ul>{notes}</ul>" + picture(top_bars(predicted), describe(predicted))[0]["text/html"]
    streams = networks.networks
    if {"spatial", "temporal"} <= set(streams):
        target = predicted.classes.index(predicted.answer)
        film, wait = gradcam_film(streams, own.store, own.clip, networks.profile, target)
        alt = f"film: bright where both streams find evidence for {predicted.answer}"
        page += f"<br>{film_html(film, wait, alt)}"
    return page


def video_chooser(
    clips: Sequence[str], answer: Callable[[Source], str], seconds: float = 4.0
) -> widgets.Widget:
    """Return the controls: menu of ``clips``, upload and webcam buttons, room for the answer.

    ``answer`` gets a clip name, or name and bytes of a video, and returns HTML. An error becomes
    its message. For the webcam in JupyterLab the page needs :func:`show_chooser`.
    """
    menu = widgets.Dropdown(options=list(clips), description="clip")
    upload = widgets.FileUpload(accept="video/*", multiple=False, description="upload")
    camera = widgets.Button(description=f"record {seconds:g} s", icon="video-camera")
    handed = widgets.Textarea(layout=widgets.Layout(display="none"))
    result = widgets.HTML()
    camera.add_class("twostream-record")
    handed.add_class("twostream-bytes")

    def run(find: Callable[[], Source | None]) -> None:
        try:
            source = find()
            if source is not None:
                result.value = "<p>reading, computing flow, asking both streams …</p>"
                result.value = answer(source)
        except VideoError as error:
            result.value = f"<p>⚠️ {html.escape(str(error))}</p>"
        except Exception as error:  # a callback's traceback would be seen by nobody
            words = f"This did not work: {error} ({type(error).__name__})"
            result.value = f"<p>⚠️ {html.escape(words)}</p>"

    def take(change: dict) -> None:
        if change["new"]:
            run(lambda: recorded(change["new"]))
            handed.value = ""  # a megabyte of text has no business in the notebook's state

    def in_colab(*_) -> None:
        from google.colab.output import eval_js

        run(lambda: recorded(eval_js(colab_script(seconds))))

    menu.observe(lambda change: run(lambda: change["new"]), names="value")
    upload.observe(lambda change: run(lambda: uploaded(change["new"])), names="value")
    handed.observe(take, names="value")
    if "google.colab" in sys.modules:
        camera.on_click(in_colab)
    run(lambda: menu.value)
    row = widgets.Layout(flex_flow="row wrap")  # beside an open file browser there is less room
    box = widgets.VBox([widgets.HBox([menu, upload, camera, handed], layout=row), result])
    box.add_class("twostream-own")
    return box


def show_chooser(
    clips: Sequence[str], answer: Callable[[Source], str], seconds: float = 4.0
) -> None:
    """Show :func:`video_chooser` with the script that lets the browser record."""
    display(video_chooser(clips, answer, seconds))
    if "google.colab" not in sys.modules:
        listener = LISTENER.replace("SECONDS", f"{seconds:g}")
        display(HTML(f"<script>(() => {{{RECORDER}\n{listener}}})();</script>"))
