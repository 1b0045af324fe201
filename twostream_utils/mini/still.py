"""Labelled still pictures ("ImageNet in miniature") to pre-train a small network on.

Scenes occur in no mini clip and persons come from another seed space, so nothing of the test clips
is seen; what a network learns here is edges, textures, bodies and postures.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from . import figure as fig
from .figure import REST, Colour, hsv, pack, shade
from .scene import STAGE, WORLD_H, WORLD_W, Painter, sky

WIDTH, HEIGHT = 96, 72

STILL_POSES: dict[str, Mapping[str, Sequence[float]]] = {
    "stand": {},
    "arms_up": {"rh": (0.05, 0.15, 0.28), "lh": (0.05, -0.15, 0.28)},
    "star": {"rh": (0, 0.42, 0.1), "lh": (0, -0.42, 0.1), "rf": (0, 0.24, 0), "lf": (0, -0.24, 0),
             "pelvis": (0, 0, -0.06)},
    "crouch": {"pelvis": (-0.12, 0, -0.3), "lean": (35,), "rh": (0.25, 0.1, -0.16),
               "lh": (0.25, -0.1, -0.16)},
    "leg_up": {"rf": (0.3, 0.08, 0.3), "lean": (-6,), "rh": (-0.1, 0.28, -0.02),
               "lh": (0.15, -0.26, -0.02)},
    "lunge": {"rf": (-0.34, 0.07, 0.01), "lf": (0.26, -0.07, 0), "pelvis": (0.03, 0, -0.17),
              "rh": (0.1, 0.14, -0.26), "lh": (0.14, -0.14, -0.22)},
    "bend": {"lean": (78,), "pelvis": (-0.1, 0, -0.03), "rh": (0.08, 0.07, -0.32),
             "lh": (0.08, -0.07, -0.32)},
    "stride": {"rf": (-0.22, 0.07, 0.03), "lf": (0.2, -0.07, 0), "pelvis": (0, 0, -0.04),
               "rh": (0.2, 0.15, -0.2), "lh": (-0.18, -0.15, -0.24), "lean": (6,)},
    "kneel": {"rf": (-0.26, 0.07, 0), "lf": (0.22, -0.07, 0), "pelvis": (0, 0, -0.25),
              "rh": (0.16, 0.1, -0.24), "lh": (0.2, -0.1, -0.2)},
    "lie": {"roll": (-90,), "rh": (0.06, 0.2, 0.2), "lh": (0.04, -0.14, -0.28)},
}


def still_pose(name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a still pose with a little random variation, packed ``(C,)``."""
    pose = pack(STILL_POSES[name])
    at = 0
    for channel, default in REST.items():
        spread = 0.018 if len(default) == 3 else 4.0
        spread = 0.0 if channel in ("lift", "stick", "turn") else spread
        pose[at:at + len(default)] += spread * rng.standard_normal(len(default))
        at += len(default)
    return pose


def _window(p: Painter, x: float, y: float, w: float, h: float, glass: Colour) -> None:
    p.rect(x - 1, y - 1, x + w + 1, y + h + 1, (235, 232, 225))
    p.rect(x, y, x + w, y + h, glass)
    p.line((x + w / 2, y), (x + w / 2, y + h), 0.7, (235, 232, 225))
    p.line((x, y + h / 2), (x + w, y + h / 2), 0.7, (235, 232, 225))


def _beach(p: Painter) -> None:
    sea = p.u(44, 54)
    sky(p, sea)
    p.gradient(sea, sea + 18, hsv(p.u(0.5, 0.6), 0.65, 0.6), hsv(p.u(0.46, 0.54), 0.4, 0.85))
    p.noise(0, sea, WORLD_W, sea + 18, 9, (7, 0.8))
    sand = hsv(p.u(0.09, 0.14), p.u(0.2, 0.4), p.u(0.8, 0.95))
    p.gradient(sea + 18, WORLD_H, shade(sand, 0.92), sand)
    p.noise(0, sea + 18, WORLD_W, WORLD_H, 6)
    for _ in range(p.rng.integers(0, 3)):
        x, y, c = p.u(10, 140), p.u(74, 86), hsv(p.rng.random(), 0.7, 0.9)
        p.line((x, y), (x, y - 22), 0.9, (230, 225, 215))
        p.poly([(x - 12, y - 19), (x + 12, y - 19), (x + 5, y - 25), (x - 5, y - 25)], c)


def _street(p: Painter) -> None:
    road = p.u(66, 76)
    sky(p, 60)
    x = -p.u(0, 15)
    while x < WORLD_W:
        w, top, c = p.u(18, 34), p.u(6, 36), hsv(p.rng.random(), p.u(0.05, 0.35), p.u(0.45, 0.85))
        p.rect(max(x, 0), top, max(x + w, 0), road, c)
        for i in range(int(w / 7)):
            for j in range(int((road - top) / 9)):
                p.rect(max(x + 2 + 7 * i, 0), top + 3 + 9 * j, max(x + 5.5 + 7 * i, 0),
                       top + 8 + 9 * j, shade((150, 170, 190), p.u(0.5, 1.3)))
        x += w
    p.rect(0, road, WORLD_W, road + 8, (170, 168, 163))
    p.gradient(road + 8, WORLD_H, (92, 92, 97), (74, 74, 79))
    p.noise(0, road, WORLD_W, WORLD_H, 5)
    for k in range(6):
        p.rect(k * 28, 100, k * 28 + 14, 102, (225, 225, 215))
    if p.rng.random() < 0.6:
        x, c = p.u(5, 120), hsv(p.rng.random(), 0.7, 0.75)
        p.rect(x, road - 4, x + 28, road + 5, c)
        p.poly([(x + 5, road - 4), (x + 9, road - 10), (x + 20, road - 10), (x + 25, road - 4)], c)
        p.oval(x + 6, road + 5, 3, 3, (30, 30, 32))
        p.oval(x + 22, road + 5, 3, 3, (30, 30, 32))


def _office(p: Painter) -> None:
    floor, wall = p.u(76, 84), hsv(p.rng.random(), p.u(0.02, 0.22), p.u(0.75, 0.95))
    p.gradient(0, floor, wall, shade(wall, 0.9))
    for k in range(p.rng.integers(1, 4)):
        _window(p, 8 + 48 * k + p.u(0, 12), p.u(18, 30), p.u(20, 30), p.u(22, 30), (165, 200, 230))
    p.gradient(floor, WORLD_H, shade((150, 140, 128), p.u(0.7, 1.2)), (135, 125, 115))
    p.noise(0, floor, WORLD_W, WORLD_H, 4)
    x, wood = p.u(0, 110), hsv(0.08, p.u(0.2, 0.6), p.u(0.4, 0.8))
    p.rect(x, floor - 14, x + 36, floor - 11, wood)
    p.rect(x + 2, floor - 11, x + 5, floor + 6, shade(wood, 0.7))
    p.rect(x + 31, floor - 11, x + 34, floor + 6, shade(wood, 0.7))
    p.rect(x + 10, floor - 25, x + 24, floor - 16, (35, 38, 44))


def _snow(p: Painter) -> None:
    sky(p, 70)
    slope, level = p.u(-16, 16), p.u(50, 60)
    p.poly([(0, level - 8), (p.u(20, 50), p.u(16, 28)), (p.u(70, 90), level - 12),
            (p.u(100, 130), p.u(18, 32)), (WORLD_W, level), (WORLD_W, 80), (0, 80)],
           (150, 165, 190))
    p.poly([(0, level - slope), (WORLD_W, level + slope), (WORLD_W, WORLD_H), (0, WORLD_H)],
           (232, 238, 248))
    p.noise(0, level + 18, WORLD_W, WORLD_H, 4, (9, 3))
    for _ in range(p.rng.integers(3, 9)):
        x = p.u(0, WORLD_W)
        _pine(p, x, level + slope * (x / 76 - 1) + p.u(1, 14), p.u(12, 30), (52, 88, 68))


def _forest(p: Painter) -> None:
    leaf = hsv(p.u(0.17, 0.4), p.u(0.4, 0.7), p.u(0.25, 0.5))
    p.gradient(0, 78, shade(leaf, 0.7), shade(leaf, 1.3))
    p.noise(0, 0, WORLD_W, 78, 14, (4, 4))
    for k in range(11):
        x, w = p.u(0, WORLD_W), 2 + 0.5 * k
        p.line((x, 0), (x + p.u(-4, 4), 66 + 1.6 * k), w, hsv(0.07, p.u(0.2, 0.5), p.u(0.2, 0.5)))
    p.gradient(78, WORLD_H, hsv(p.u(0.07, 0.2), 0.5, 0.35), hsv(p.u(0.07, 0.2), 0.5, 0.5))
    p.noise(0, 74, WORLD_W, WORLD_H, 13, (2, 1.5))
    p.blobs(30, (0, WORLD_W), (76, 84), (1.5, 4), leaf, 0.3)


def _kitchen(p: Painter) -> None:
    tile, c = p.u(5, 8), hsv(p.rng.random(), p.u(0.02, 0.25), 0.92)
    p.rect(0, 0, WORLD_W, 80, c)
    for k in range(int(WORLD_W / tile) + 1):
        p.line((k * tile, 0), (k * tile, 80), 0.4, shade(c, 0.82))
    for k in range(int(80 / tile) + 1):
        p.line((0, k * tile), (WORLD_W, k * tile), 0.4, shade(c, 0.82))
    board, top = hsv(p.rng.random(), p.u(0.1, 0.6), p.u(0.4, 0.9)), p.u(54, 60)
    for k in range(8):
        p.rect(k * 20, top, k * 20 + 19.3, 82, board)
        p.oval(k * 20 + 16, top + 8, 0.8, 0.8, (215, 215, 215))
        if p.rng.random() < 0.6:
            p.rect(k * 20, 8, k * 20 + 19.3, p.u(28, 34), shade(board, 1.08))
    p.rect(0, top - 2.5, WORLD_W, top, (70, 66, 64))
    for _ in range(4):
        x = p.u(4, 146)
        p.rect(x, top - p.u(6, 11), x + p.u(3, 7), top - 2.5, hsv(p.rng.random(), 0.5, 0.8))
    light, dark = (206, 200, 190), shade((140, 120, 110), p.u(0.6, 1.3))
    for j in range(3):
        for k in range(12):
            p.rect(k * 14, 82 + j * 10, k * 14 + 14, 92 + j * 10, (light, dark)[(j + k) % 2])


def _desert(p: Painter) -> None:
    level, c = p.u(50, 60), hsv(p.u(0.03, 0.1), p.u(0.45, 0.65), p.u(0.7, 0.9))
    sky(p, level)
    for _ in range(3):
        x, w, h = p.u(0, 150), p.u(12, 26), p.u(8, 22)
        p.poly([(x - w, level), (x - 0.6 * w, level - h), (x + 0.6 * w, level - h), (x + w, level)],
               shade(c, p.u(0.6, 0.8)))
    p.gradient(level, WORLD_H, shade(c, 0.9), shade(c, 1.05))
    p.noise(0, level, WORLD_W, WORLD_H, 7, (16, 1.5))
    for _ in range(p.rng.integers(1, 5)):
        x, y, h = p.u(4, 148), p.u(level + 4, 82), p.u(12, 22)
        p.line((x, y), (x, y - h), 3, (80, 120, 70))
        p.line((x - 5, y - 0.6 * h), (x, y - 0.45 * h), 2, (80, 120, 70))
        p.line((x + 5, y - 0.75 * h), (x, y - 0.5 * h), 2, (80, 120, 70))


def _library(p: Painter) -> None:
    wood, row = hsv(p.u(0.04, 0.1), p.u(0.4, 0.7), p.u(0.3, 0.55)), p.u(11, 15)
    p.rect(0, 0, WORLD_W, 80, shade(wood, 0.5))
    for j in range(int(80 / row) + 1):
        x = 0.0
        while x < WORLD_W:
            w = p.u(2, 4.5)
            p.rect(x, j * row + p.u(1.5, 4), x + w - 0.3, (j + 1) * row - 1.2,
                   hsv(p.rng.random(), p.u(0.2, 0.7), p.u(0.3, 0.85)))
            x += w
        p.rect(0, (j + 1) * row - 1.2, WORLD_W, (j + 1) * row, wood)
    carpet = hsv(p.rng.random(), p.u(0.3, 0.6), p.u(0.3, 0.6))
    p.gradient(80, WORLD_H, carpet, shade(carpet, 1.15))
    p.noise(0, 80, WORLD_W, WORLD_H, 6)


def _pine(p: Painter, x: float, foot: float, size: float, colour: Colour) -> None:
    p.line((x, foot), (x, foot - 0.3 * size), 0.1 * size, (80, 58, 42))
    for k in range(3):
        y = foot - size * (0.12 + 0.26 * k)
        w = size * (0.34 - 0.08 * k)
        p.poly([(x - w, y), (x + w, y), (x, y - 0.42 * size)], shade(colour, 0.85 + 0.12 * k))


STILL_SCENES: dict[str, Callable[[Painter], None]] = {
    "beach": _beach, "street": _street, "office": _office, "snow": _snow, "forest": _forest,
    "kitchen": _kitchen, "desert": _desert, "library": _library,
}


STILL_CLASSES: tuple[str, ...] = tuple(f"{s}/{p}" for s in STILL_SCENES for p in STILL_POSES)

_SS = 2
_STILL_SEED = 7_001  # keeps persons and scenes apart from those of any clip
_INSTANCES = 24  # painted backgrounds per scene; crop, mirror and light make many of each


@functools.lru_cache(maxsize=_INSTANCES * len(STILL_SCENES))
def _background(scene: str, instance: int, seed: int) -> np.ndarray:
    key = [seed, _STILL_SEED, list(STILL_SCENES).index(scene), instance]
    painter = Painter(np.random.default_rng(key), _SS)
    STILL_SCENES[scene](painter)
    return painter.img


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
    fig.disc(img, at, (0.04 + 0.06 * r) * size, fig.hsv(hue, 0.7, 0.85))
