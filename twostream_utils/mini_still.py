"""Labelled still pictures ("ImageNet in miniature") to pre-train a small network on.

Scenes occur in no mini clip and persons come from another seed space, so nothing of the test clips
is seen; what a network learns here is edges, textures, bodies and postures.
"""
from __future__ import annotations

import functools

import cv2
import numpy as np

from . import mini_figure as fig
from .mini_motion import STILL_POSES, still_pose
from .mini_scene import STAGE, STILL_SCENES, WORLD_H, WORLD_W, paint

WIDTH, HEIGHT = 96, 72
STILL_CLASSES: tuple[str, ...] = tuple(f"{s}/{p}" for s in STILL_SCENES for p in STILL_POSES)

_SS = 2
_STILL_SEED = 7_001  # keeps persons and scenes apart from those of any clip
_INSTANCES = 24  # painted backgrounds per scene; crop, mirror and light make many of each


@functools.lru_cache(maxsize=_INSTANCES * len(STILL_SCENES))
def _background(scene: str, instance: int, seed: int) -> np.ndarray:
    key = [seed, _STILL_SEED, list(STILL_SCENES).index(scene), instance]
    return paint(scene, np.random.default_rng(key), _SS)


def render_still(index: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """Render still picture `index` → ``(72, 96, 3)`` uint8 RGB and its label.

    The label is the place of ``scene/pose`` in `STILL_CLASSES`; labels cycle with the index, so any
    run of ``len(STILL_CLASSES)`` indices holds each class once. Raises ValueError if `index` is
    negative.
    """
    if index < 0:
        raise ValueError(f"index of a still picture must be 0 or more, got {index}")
    label = index % len(STILL_CLASSES)
    scene, pose = STILL_CLASSES[label].split("/")
    rng = np.random.default_rng([seed, _STILL_SEED, 99, index])
    u = rng.random(16)
    canvas = _background(scene, int(u[0] * _INSTANCES), seed)
    size = (34 + 24 * u[1]) * _SS
    zoom = 0.8 + 0.6 * u[2]
    foot = np.array([22 + 52 * u[3], 54 + 13 * u[4]]) * _SS
    anchor_x = STAGE[0] + (u[5] - 0.5) * max(0.0, WORLD_W - WIDTH / zoom)
    m = np.array([[zoom, 0, WIDTH * _SS / 2 - zoom * anchor_x * _SS],
                  [0, zoom, foot[1] - zoom * STAGE[1] * _SS]])
    m[1, 2] = max(m[1, 2], HEIGHT * _SS - zoom * WORLD_H * _SS)
    img = cv2.warpAffine(canvas, m, (WIDTH * _SS, HEIGHT * _SS), flags=cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REFLECT_101)
    person = fig.make_person(rng)
    body = fig.joints(still_pose(pose, rng)[None], person, 75 * u[6])[0]
    if u[7] < 0.3:
        _ball(img, foot, size, rng)
    fig.draw_shadow(img, foot, size, 0.4)
    fig.draw_figure(img, foot + size * body[:, :2], body[:, 2], person, size)
    img = cv2.resize(img, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    if u[8] < 0.5:
        img = img[:, ::-1]
    if u[9] < 0.25:
        img = cv2.blur(img, (3, 1) if u[10] < 0.5 else (2, 2))
    noise = np.empty((HEIGHT, WIDTH, 3), np.int8)
    cv2.setRNGSeed(int(u[11] * 2**31))
    cv2.randn(noise, 0, 1 + 5 * u[12])
    tint = (0.75 + 0.45 * u[13]) * np.array([1 + 0.08 * (u[14] - 0.5), 1, 1 + 0.08 * (u[15] - 0.5)])
    lit = cv2.multiply(img, (*tint, 0), dtype=cv2.CV_8U)
    return cv2.add(lit, noise, dtype=cv2.CV_8U), label


def _ball(img: np.ndarray, foot: np.ndarray, size: float, rng: np.random.Generator) -> None:
    x, y, r, hue = rng.random(4)
    at = foot + (2 * x - 1, 0.25 * y) * np.array([0.7, 0.6]) * size
    fig._disc(img, at, (0.04 + 0.06 * r) * size, fig.hsv(hue, 0.7, 0.85))
