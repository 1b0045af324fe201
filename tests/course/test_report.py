"""The page that `make run` leaves for a folder of videos: whole, safe to send, and true."""

from __future__ import annotations

import base64
import re
import shutil
from html import escape
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import report
from readme import results_table
from tiny_course import TINY

from twostream_utils.course import INPUTS, Course
from twostream_utils.data.extract import extract
from twostream_utils.evaluation import Scores
from twostream_utils.fusion import METHODS
from twostream_utils.lab.results import FEW, results, share
from twostream_utils.store import FrameStore

ODD = "<b>&'\""
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Reads a page and fails where a tag is not closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.text, self.images = [], set(), [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


class Answered(Course):
    """A course whose scores are given, as if its networks had been trained."""

    weights = (0.2, 0.3, 0.5), 0.0

    def scores(self, name, **choices):
        return self.given[name]


@pytest.fixture(scope="module")
def course(video_folder, tmp_path_factory):
    """Clips of three classes, one of an odd name; the first is right, the others as it falls."""
    place = tmp_path_factory.mktemp("own")
    videos = shutil.copytree(video_folder, place / "videos")
    (videos / "YoYo" / "a&b.avi").write_text("no video")
    (videos / "empty").mkdir()
    extract(videos, place / "shards", short_side=48, workers=1, progress=False)
    store = FrameStore(place / "shards")
    for info in store._clips.values():  # no file system of every reader takes such a name
        info["label"] = info["label"].replace("PullUps", ODD)
    made = Answered(TINY, store, place / "runs")
    test, rng = made.dataset("test"), np.random.default_rng(0)
    labels, made.given = np.array(test.labels), {}
    for name in INPUTS:
        logits = rng.normal(size=(len(labels), 4, 3)).astype(np.float32)
        logits[0, :, labels[0]] += 20
        made.given[name] = Scores(tuple(test.clips), labels, logits, tuple(made.classes))
    return made


@pytest.fixture(scope="module")
def made(course):
    """Its page."""
    return report.page(course, results(course))


def test_it_is_one_page_that_needs_nothing_else(made):
    page = Page(made)
    assert page.tags.isdisjoint({"script", "link", "iframe", "a", "b"})
    words = re.sub('(?<=base64,)[^"]+', "", made)
    assert not re.search(r"https?:|//|url\(|@import", words)
    for image in page.images:
        head, data = image["src"].split(",")
        assert head == "data:image/jpeg;base64" and image["alt"]
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape[0] == 96


def test_names_are_shown_as_they_are(made):
    assert ODD in "".join(Page(made).text) and ODD not in made
    assert "YoYo/a&b.avi" in Page(made).text


def test_every_clip_that_a_method_got_wrong_is_there_with_what_was_said(course, made):
    clips, page = course.dataset("test").clips, Page(made)
    methods = course.method_scores()
    wrong = {
        clip for scores, labels, _ in methods.values()
        for clip, said, label in zip(clips, scores.argmax(axis=1), labels) if said != label
    }  # fmt: skip
    assert wrong and wrong < {*clips}
    cards = re.findall(r"<figure>.*?</figure>", made)
    assert len(cards) == len(page.images) == len(wrong)
    for clip in wrong:
        (card,) = (card for card in cards if clip in card)
        assert f"<strong>{escape(course.store.label(clip))}</strong>" in card
        for key, (scores, labels, _) in methods.items():
            row = scores[clips.index(clip)]
            right = row.argmax() == labels[clips.index(clip)]
            name = escape(course.classes[row.argmax()])
            kind = "right" if right else "wrong"
            told = f"<td>{METHODS[key].title}</td><td class={kind}>{name}</td>"
            assert f"{told}<td>{100 * row.max():.0f} %</td>" in card


def test_matrices_and_videos_are_counted(course, made):
    matrices = re.findall(r'<table class="matrix">.*?</table>', made)
    labels, every = np.array(course.dataset("test").labels), range(3)
    for matrix, (scores, *_) in zip(matrices, course.method_scores().values(), strict=True):
        cells = [int(n or 0) for n in re.findall(r"<td[^>]*>(\d*)</td>", matrix)]
        said = scores.argmax(axis=1)
        assert cells == [sum((labels == t) & (said == s)) for t in every for s in every]
    assert "10 files were found, 9 of them read and 1 left out. 9 clips in 3 groups" in made
    assert "Frames per second (clips): 25 (9)" in made
    assert "<td>empty/</td><td>no videos in this folder</td>" in made


def test_few_clips_are_counted_and_many_are_percent(course, made):
    one = results(course)
    clips = one["n_test"]
    right = round(clips * one["methods"]["spatial"]["top1"])
    few, many = results_table(one), results_table(one | {"n_test": FEW})
    assert clips < FEW and f"{right} of {clips} |" in few and "%" not in few
    assert "top-1 %" in many and f"<td>{right} of {clips}</td>" in made
    assert share([True, False]) == "1 of 2 clips" and share([True] * FEW) == "100.0%"
    assert share(np.array([True])) == "1 of 1 clips"
