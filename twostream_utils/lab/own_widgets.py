"""Choose a video in the notebook: a clip of the course, an upload, or the webcam.

Core widgets only, and the API that ipywidgets 7 (Colab) and 8 share.
"""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
from IPython.display import HTML, display
from torch import nn

from ..course import Course
from ..data.video import VideoError
from .own_plots import describe, film_html, gradcam_film, top_bars
from .own_video import OwnClip, opinion, own_clip
from .plots import picture

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


def answer_html(networks: Mapping[str, nn.Module], course: Course, source: Source) -> str:
    """Ask trained ``networks`` about ``source``; return notes, bars and Grad-CAM film as HTML.

    Uploads go through ``<course.run_dir>/own_video``. Raises ``VideoError`` as ``own_clip``.
    """
    if isinstance(source, str):
        own = OwnClip(course.store, source)
    else:
        name, data = source
        own = own_clip(data, course.profile, course.run_dir / "own_video", name=name)
    said = opinion(networks, own.store, own.clip, course)
    target = int(said.scores["average_fusion"].argmax())
    film, wait = gradcam_film(networks, own.store, own.clip, course.profile, target)
    alt = f"film: where both streams find evidence for {said.classes[target]}, brighter is more"
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in own.notes)
    bars = picture(top_bars(said), describe(said))[0]["text/html"]
    return f"<ul>{notes}</ul>{bars}<br>{film_html(film, wait, alt)}"


def video_chooser(
    clips: Sequence[str], answer: Callable[[Source], str], seconds: float = 4.0
) -> widgets.Widget:
    """Return the controls: menu of ``clips``, upload and webcam buttons, room for the answer.

    ``answer`` gets a clip name, or name and bytes of a video, and returns HTML. An error
    becomes its message. For the webcam in JupyterLab the page needs
    :func:`show_chooser`.
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
            said = f"This did not work: {error} ({type(error).__name__})"
            result.value = f"<p>⚠️ {html.escape(said)}</p>"

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
    box = widgets.VBox([widgets.HBox([menu, upload, camera, handed]), result])
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
