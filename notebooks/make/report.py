"""A page to send to somebody: what a course on a folder of videos reached, and what it got wrong.

    python notebooks/make/report.py folder      after `make run`, which writes it as well

One file, runs/<profile>/report.html, made of the scores that the course has kept.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

import cv2
import numpy as np
from readme import caption, load_results, results_rows
from sklearn.metrics import confusion_matrix

from twostream_utils.course import Course
from twostream_utils.files import atomic_write
from twostream_utils.fusion import METHODS
from twostream_utils.lab import start
from twostream_utils.lab.own_classes import group_warnings
from twostream_utils.lab.own_networks import answering

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ccc; --blue: #0072b2;
  --wrong: #b34700; --right: #007a55; font: 16px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --line: #444;
  --blue: #2a8fd0; --wrong: #ff9d57; --right: #4fd0a0; } }
body { color: var(--ink); background: var(--paper); max-width: 62rem; margin: 0 auto;
  padding: 1rem; overflow-wrap: anywhere; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } caption { text-align: left; font-weight: 600; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, .said td, .said th { text-align: left; }
summary { margin: 1.5rem 0; }
.wide { overflow-x: auto; } .row { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.matrix { font-size: .85rem; } .matrix caption { font-size: 1rem; }
.matrix td { text-align: center; padding: .15rem .4rem; min-width: 1.4rem; overflow-wrap: normal;
  background: color-mix(in srgb, var(--blue) calc(var(--share) * 60%), transparent); }
.matrix th { font-weight: 400; overflow-wrap: normal; }
.matrix thead th + th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left;
  padding: .4rem .1rem; border: 0; }
figure { margin: 0; width: 18.5rem; max-width: 100%; } figure img { width: 100%; }
.said { width: 100%; font-size: .85rem; } .wrong { color: var(--wrong); }
.right { color: var(--right); }
"""


def page(course: Course, results: dict) -> str:
    """The whole page as HTML: no links, images inside, every name escaped."""
    methods, clips = course.method_scores(), course.dataset("test").clips
    labels = methods["spatial"][1]
    sources, rates = _entries(course)
    probabilities = {key: scores for key, (scores, *_) in methods.items()}
    said = {key: scores.argmax(axis=1) for key, scores in probabilities.items()}
    best = answering(methods)
    every = range(len(course.classes))
    matrices = {key: confusion_matrix(labels, s, labels=every) for key, s in said.items()}
    data = os.environ.get("TWOSTREAM_DATA")
    name = Path(data).name if data else course.profile.title.partition(",")[0]
    m = matrices[best]
    by_class = zip(course.classes, m.sum(axis=1), m.diagonal(), m.sum(axis=0))
    shown = "".join(_matrix(METHODS[key].title, matrices[key], course.classes) for key in matrices)
    wrong = [n for n in range(len(clips)) if any(said[key][n] != labels[n] for key in said)]
    surest = sorted(wrong, key=lambda n: -probabilities[best][n].max())
    cards: dict[bool, list[str]] = {True: [], False: []}
    for n in surest:
        answers = {key: (course.classes[said[key][n]], probabilities[key][n].max()) for key in said}
        true = course.classes[labels[n]]
        title = sources.get(clips[n], clips[n])
        cards[answers[best][0] == true].append(_card(course, clips[n], title, true, answers))
    others = f"<details><summary>{len(cards[True])} clips that only other methods got wrong"
    others += f'</summary><div class="row">{"".join(cards[True])}</div></details>'
    missed = f"Nothing: all {len(clips)} clips were recognised."
    if cards[False]:
        missed = f"{len(cards[False])} of {len(clips)} clips, those first of which it was surest. "
        missed += "Each with its first, middle and last frame, and with what every method said and "
        missed += "how sure it was."
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in group_warnings(course))
    title = escape(f"Two streams on {name}")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>{title}</h1>
<p>{METHODS[best].title} recognised <strong>{m.trace()} of {len(clips)}</strong> clips that no
network was trained on. There are {len(course.classes)} classes, so guessing gets about
{len(clips) / len(course.classes):.0f} right.</p>
{_table(*results_rows(results))}
<p>{escape(caption(results).replace("`", ""))}</p>
<ul>{warnings}</ul>
<h2>Class by class</h2>
<p>How many clips of each class {METHODS[best].title.lower()} recognised, and how often that answer
came. Wherever it came more often than it was recognised, clips of other classes were taken for it.
</p>
{_table(["class", "clips", "recognised", "answer came"], *by_class)}
<h2>What is taken for what</h2>
<p>Clips by their true class (rows) and by what was said (columns).</p>
<div class="row">{shown}</div>
<h2>What {METHODS[best].title.lower()} got wrong</h2>
<p>{missed}</p>
<div class="row">{"".join(cards[False])}</div>
{others if cards[True] else ""}
<h2>The videos</h2>
{_videos(course, rates)}
</body></html>
"""


def _entries(course: Course) -> tuple[dict[str, str], Counter]:
    """The file that each clip comes from, and how many clips have which rate, from the shards."""
    found = {}
    for shard in sorted(course.store.root.glob("*.zip")):
        with zipfile.ZipFile(shard) as file:
            if "clips.json" in file.namelist():
                found |= json.loads(file.read("clips.json"))
    used = {*course.train, *course.val, *course.test} & {*found}
    rates = Counter(round(found[clip].get("fps", 0), 2) for clip in used)
    return {clip: found[clip].get("source", clip) for clip in used}, rates


def _videos(course: Course, rates: Counter) -> str:
    """What was found, read, and left out, and why."""
    store, listed = course.store, course.store.root / "skipped.txt"
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    left = [line.partition("\t")[::2] for line in text.splitlines()]
    files = sum(not name.endswith("/") for name, _ in left)
    parts = {"training": course.train, "validation": course.val, "test": course.test}
    counts = {part: Counter(map(store.label, clips)) for part, clips in parts.items()}
    rows = [(c, *(counts[part][c] for part in parts)) for c in course.classes]
    used = sum(map(len, parts.values()))
    groups = len({store.group(clip) for clips in parts.values() for clip in clips})
    at = ", ".join(f"{rate:g} ({n})" if rate else f"not known ({n})" for rate, n in rates.items())
    said = f"{len(store.clips) + files} files were found, {len(store.clips)} of them read and "
    said += f"{files} left out. {used} clips in {groups} groups were used."
    said += f" Frames per second (clips): {at}." if at else ""
    reasons = f"<h3>Left out</h3>{_table(['file', 'why'], *left, kind='said')}" if left else ""
    return f"<p>{escape(said)}</p>{_table(['class', *parts], *rows)}{reasons}"


def _table(head: Iterable, *rows: Iterable, kind: str = "") -> str:
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    top = "".join(f"<th>{escape(str(cell))}</th>" for cell in head)
    body = f"<thead><tr>{top}</tr></thead>" + "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table class="{kind}">{body}</table></div>'


def _matrix(title: str, matrix: np.ndarray, classes: list[str]) -> str:
    """Counts, the darker the larger their share of the row."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    top = "".join(f"<th>{escape(name)}</th>" for name in classes)
    body = ""
    for name, counts, row in zip(classes, matrix.tolist(), shares.tolist()):
        cells = (f'<td style="--share:{s:.2f}">{n or ""}</td>' for n, s in zip(counts, row))
        body += f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>"
    return (
        f'<div class="wide"><table class="matrix"><caption>{escape(title)}</caption>'
        f"<thead><tr><th></th>{top}</tr></thead>{body}</table></div>"
    )


def _card(course: Course, clip: str, title: str, true: str, answers: dict) -> str:
    """Three frames of a clip, what it shows, and what each method said, how sure."""
    rows = ""
    for key, (label, sure) in answers.items():
        kind = "right" if label == true else "wrong"
        rows += f"<tr><td>{METHODS[key].title}</td><td class={kind}>{escape(label)}</td>"
        rows += f"<td>{100 * sure:.0f} %</td></tr>"
    n = course.store.n_frames(clip)
    frames = np.hstack([*course.store.images(clip, [1, n // 2 + 1, n])])
    height = 96
    size = round(frames.shape[1] * height / frames.shape[0]), height
    small = cv2.resize(frames, size, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    alt = escape(f"first, middle and last frame of {title}", quote=True)
    return (
        f'<figure><img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{escape(title)}: <strong>{escape(true)}</strong></figcaption>"
        f'<table class="said">{rows}</table></figure>'
    )


def write_report(course: Course, results: dict) -> Path:
    """Write the page of a course that was run to its end; return its path."""
    path = course.run_dir / "report.html"
    with atomic_write(path) as part:
        part.write_text(page(course, results), encoding="utf-8")
    return path


if __name__ == "__main__":
    course = start.setup(*sys.argv[1:2] or ["folder"])
    print(write_report(course, load_results(course.run_dir / "results.json")))
