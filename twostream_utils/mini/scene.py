"""Textured scenes for the mini set, and the painter all scenes are made with.

A scene is painted once per group on a canvas larger than the frame; the camera then moves over it.
Coordinates here are world pixels (`WORLD_W` × `WORLD_H`, about one frame pixel each); the figure
stands at `STAGE`. Every surface has some texture: on a plain wall, flow is what the noise makes of
it, and would tell the places apart.
"""
from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .figure import Colour, hsv, shade

WORLD_W, WORLD_H = 152, 112
STAGE = (76.0, 86.0)


class Painter:
    """A canvas ``(WORLD_H·s, WORLD_W·s, 3)`` uint8 with drawing in world pixels and its own rng."""

    def __init__(self, rng: np.random.Generator, scale: int) -> None:
        self.rng, self.s = rng, scale
        self.img = np.zeros((WORLD_H * scale, WORLD_W * scale, 3), np.uint8)

    def u(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def _p(self, x: float, y: float) -> tuple[int, int]:
        return int(x * self.s * 16), int(y * self.s * 16)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        s = self.s
        cv2.rectangle(self.img, (int(x0 * s), int(y0 * s)), (int(x1 * s) - 1, int(y1 * s) - 1),
                      colour, -1)

    def poly(self, points, colour: Colour) -> None:
        pts = (np.asarray(points, float) * self.s * 16).astype(np.int32)
        cv2.fillPoly(self.img, [pts], colour, cv2.LINE_AA, 4)

    def line(self, a, b, width: float, colour: Colour) -> None:
        cv2.line(self.img, self._p(*a), self._p(*b), colour, max(1, round(width * self.s)),
                 cv2.LINE_AA, 4)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour,
             width: float = -1) -> None:
        cv2.ellipse(self.img, self._p(x, y), (int(rx * self.s * 16), int(ry * self.s * 16)), 0, 0,
                    360, colour, max(1, round(width * self.s)) if width > 0 else -1, cv2.LINE_AA, 4)

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour,
                 x0: float = 0, x1: float = WORLD_W) -> None:
        a, b = int(y0 * self.s), int(y1 * self.s)
        t = np.linspace(0, 1, max(1, b - a))[:, None, None]
        colours = np.asarray(top) * (1 - t) + np.asarray(bottom) * t
        self.img[a:b, int(x0 * self.s):int(x1 * self.s)] = colours

    def noise(self, x0: float, y0: float, x1: float, y1: float, amount: float,
              grain: tuple[float, float] = (1.5, 1.0)) -> None:
        """Add smooth grey noise of the given grain (world pixels along x and y) to a region."""
        s = self.s
        part = self.img[int(y0 * s):int(y1 * s), int(x0 * s):int(x1 * s)]
        h, w = part.shape[:2]
        rows, cols = max(2, int(h / s / grain[1])), max(2, int(w / s / grain[0]))
        small = self.rng.standard_normal((rows, cols)).astype(np.float32) * amount
        field = cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
        np.copyto(part, cv2.add(part, cv2.cvtColor(field, cv2.COLOR_GRAY2RGB),
                                dtype=cv2.CV_8U))

    def blobs(self, n: int, x: tuple[float, float], y: tuple[float, float],
              radius: tuple[float, float], colour: Colour, spread: float = 0.25) -> None:
        """Scatter overlapping discs of varied brightness: foliage, clouds, heads, gravel."""
        draws = self.rng.random((n, 4))
        for a, b, c, d in draws:
            r = radius[0] + (radius[1] - radius[0]) * c
            self.oval(x[0] + (x[1] - x[0]) * a, y[0] + (y[1] - y[0]) * b, r, 0.85 * r,
                      shade(colour, 1 - spread + 2 * spread * d))

    def glow(self, points, colour: Colour, strength: float) -> None:
        """Add a soft-edged cone of light."""
        s = self.s
        mask = np.zeros(self.img.shape[:2], np.uint8)
        cv2.fillPoly(mask, [(np.asarray(points, float) * s).astype(np.int32)], 255)
        mask = cv2.blur(cv2.resize(mask, None, fx=0.25, fy=0.25), (5, 5))
        mask = cv2.resize(mask, (self.img.shape[1], self.img.shape[0]))
        light = mask[..., None] * (np.asarray(colour, np.float32) / 255 * strength)
        self.img = cv2.add(self.img, light.astype(np.float32), dtype=cv2.CV_8U)


def sky(p: Painter, horizon: float) -> None:
    kind = p.rng.integers(4)
    top, low = (((95, 150, 225), (190, 218, 245)), ((150, 165, 185), (205, 210, 216)),
                ((120, 160, 205), (248, 215, 175)), ((70, 125, 205), (165, 205, 240)))[kind]
    p.gradient(0, horizon, top, low)
    for _ in range(p.rng.integers(0, 4)):
        x, y = p.u(0, WORLD_W), p.u(8, 0.75 * horizon)
        p.blobs(6, (x - 9, x + 9), (y - 2, y + 2), (2.5, 5), (236, 238, 242), 0.05)


def tree(p: Painter, x: float, foot: float, size: float, leaf: Colour) -> None:
    p.line((x, foot), (x, foot - 0.6 * size), 0.13 * size, shade((105, 75, 50), p.u(0.7, 1.1)))
    p.blobs(14, (x - 0.38 * size, x + 0.38 * size), (foot - 1.15 * size, foot - 0.5 * size),
            (0.16 * size, 0.28 * size), leaf, 0.22)


GRAIN = 10.0  # grey levels of the texture that every surface has


def window(p: Painter, x: float, y: float, w: float, h: float) -> None:
    """A window with sky, a hill and a cross of bars."""
    frame = shade((238, 235, 228), p.u(0.85, 1.0))
    p.rect(x - 1.5, y - 1.5, x + w + 1.5, y + h + 1.5, frame)
    top, low = (((95, 150, 225), (195, 222, 245)), ((120, 165, 215), (245, 220, 185)),
                ((70, 130, 210), (170, 210, 240)))[p.rng.integers(3)]
    p.gradient(y, y + h, top, low, x, x + w)
    p.blobs(4, (x + 2, x + w - 3), (y + 2, y + 0.5 * h), (1.2, 2.2), (240, 242, 246), 0.05)
    hill = hsv(p.u(0.22, 0.38), p.u(0.35, 0.6), p.u(0.35, 0.6))
    p.rect(x, y + h * p.u(0.7, 0.8), x + w, y + h, hill)
    p.rect(x + w / 2 - 0.6, y, x + w / 2 + 0.6, y + h, frame)
    p.rect(x, y + h * 0.5 - 0.6, x + w, y + h * 0.5 + 0.6, frame)


def board(p: Painter, x: float, y: float, w: float, h: float) -> None:
    """A blackboard with lines of chalk."""
    wood = hsv(p.u(0.06, 0.1), p.u(0.4, 0.7), p.u(0.45, 0.75))
    p.rect(x - 1.5, y - 1.5, x + w + 1.5, y + h + 1.5, wood)
    slate = hsv(p.u(0.38, 0.46), p.u(0.35, 0.6), p.u(0.2, 0.32))
    p.rect(x, y, x + w, y + h, slate)
    for line in range(int(h / 5)):
        end = x + w * p.u(0.5, 0.92)
        at = x + 2
        while at < end:
            step = p.u(1.5, 4.0)
            p.line((at, y + 3 + 5 * line + p.u(-0.7, 0.7)), (at + 0.75 * step, y + 3 + 5 * line),
                   0.6, (225, 228, 222))
            at += step


def _room(p: Painter) -> float:
    """Wall and floor of a room; returns where the floor begins."""
    floor = p.u(74, 79)
    wall = hsv(p.rng.random(), p.u(0.05, 0.3), p.u(0.6, 0.88))
    p.gradient(0, floor, shade(wall, 1.05), shade(wall, 0.9))
    boards = hsv(p.u(0.05, 0.12), p.u(0.2, 0.5), p.u(0.35, 0.65))
    p.gradient(floor, WORLD_H, shade(boards, 0.85), shade(boards, 1.15))
    p.rect(0, floor - 1.5, WORLD_W, floor, shade(wall, 0.55))
    return floor


def _two(p: Painter, left: Callable, right: Callable) -> None:
    """A room with a thing on either side of the figure, each where a hand can reach it."""
    _room(p)
    for side, thing in ((-1, left), (1, right)):
        w, h = p.u(20, 24), p.u(24, 30)
        x = STAGE[0] + side * p.u(19, 23) - w / 2
        thing(p, x, 49 + p.u(-3, 3) - h / 2, w, h)
        outer = STAGE[0] + side * p.u(50, 56) - w / 2
        thing(p, outer, 49 + p.u(-3, 3) - h / 2, w, h)


def office(p: Painter) -> None:
    """Office: windows on both sides."""
    _two(p, window, window)


def school(p: Painter) -> None:
    """School: blackboards on both sides."""
    _two(p, board, board)


def hobby(p: Painter) -> None:
    """A room with a blackboard on the left and a window on the right."""
    _two(p, board, window)


def park(p: Painter) -> None:
    """Park: sky, trees, a hedge and a lawn."""
    horizon = p.u(50, 58)
    sky(p, horizon)
    leaf = hsv(p.u(0.2, 0.38), p.u(0.4, 0.7), p.u(0.3, 0.55))
    for _ in range(p.rng.integers(4, 8)):
        tree(p, p.u(0, WORLD_W), horizon + p.u(2, 8), p.u(26, 44), shade(leaf, p.u(0.8, 1.2)))
    p.rect(0, horizon - 2, WORLD_W, horizon + 14, shade(leaf, 0.8))
    p.blobs(160, (0, WORLD_W), (horizon - 3, horizon + 13), (1.5, 3), shade(leaf, 0.95), 0.3)
    grass = hsv(p.u(0.2, 0.33), p.u(0.4, 0.65), p.u(0.45, 0.65))
    p.gradient(horizon + 13, WORLD_H, shade(grass, 0.85), shade(grass, 1.1))


def stage(p: Painter) -> None:
    """Stage: a curtain in folds, boards, two lamps."""
    floor = p.u(74, 79)
    cloth = hsv(p.u(-0.06, 0.06) if p.rng.random() < 0.6 else p.rng.random(), p.u(0.5, 0.8),
                p.u(0.35, 0.6))
    x = 0.0
    while x < WORLD_W:
        fold = p.u(3, 6)
        p.rect(x, 0, x + 0.55 * fold, floor, shade(cloth, p.u(0.9, 1.1)))
        p.rect(x + 0.55 * fold, 0, x + fold + 1, floor, shade(cloth, p.u(0.55, 0.75)))
        x += fold
    boards = hsv(p.u(0.05, 0.1), p.u(0.3, 0.5), p.u(0.45, 0.7))
    p.gradient(floor, WORLD_H, shade(boards, 0.8), shade(boards, 1.1))
    for side in (-1, 1):
        aim = STAGE[0] + side * p.u(4, 14)
        p.glow([(aim + 40 * side - 2, 0), (aim + 40 * side + 2, 0), (aim + 12, WORLD_H),
                (aim - 12, WORLD_H)], hsv(p.rng.random(), 0.2, 1.0), p.u(0.12, 0.22))


SCENES: dict[str, Callable[[Painter], None]] = {
    "office": office, "school": school, "park": park, "stage": stage, "hobby": hobby,
}


def paint(recipe: Callable[[Painter], None], rng: np.random.Generator, scale: int) -> np.ndarray:
    """Paint one instance of a scene → ``(WORLD_H·scale, WORLD_W·scale, 3)`` uint8 RGB."""
    painter = Painter(rng, scale)
    recipe(painter)
    painter.noise(0, 0, WORLD_W, WORLD_H, GRAIN, (2.0, 2.0))
    return painter.img
