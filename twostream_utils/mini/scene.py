"""Textured scenes for the mini set, and the painter all scenes are made with.

A scene is painted once per group on a canvas larger than the frame; the camera then moves over it.
Coordinates here are world pixels (`WORLD_W` × `WORLD_H`, about one frame pixel each); the figure
stands at `STAGE`.
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

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour) -> None:
        a, b = int(y0 * self.s), int(y1 * self.s)
        t = np.linspace(0, 1, max(1, b - a))[:, None, None]
        self.img[a:b] = np.asarray(top) * (1 - t) + np.asarray(bottom) * t

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


def window(p: Painter, x: float, y: float, w: float, h: float, glass: Colour) -> None:
    p.rect(x - 1, y - 1, x + w + 1, y + h + 1, (235, 232, 225))
    p.rect(x, y, x + w, y + h, glass)
    p.line((x + w / 2, y), (x + w / 2, y + h), 0.7, (235, 232, 225))
    p.line((x, y + h / 2), (x + w, y + h / 2), 0.7, (235, 232, 225))


def _grass(p: Painter, top: float, hue: tuple[float, float]) -> Colour:
    colour = hsv(p.u(*hue), p.u(0.42, 0.7), p.u(0.45, 0.7))
    p.gradient(top, WORLD_H, shade(colour, 1.12), shade(colour, 0.85))
    p.noise(0, top, WORLD_W, WORLD_H, 9, (1.2, 1.6))
    p.noise(0, top, WORLD_W, WORLD_H, 7, (14, 6))
    return colour


def cricket(p: Painter) -> None:
    """Cricket ground: pavilion, boundary boards, mown outfield, bare pitch with stumps."""
    horizon = p.u(46, 56)
    sky(p, horizon)
    p.blobs(26, (0, WORLD_W), (horizon - 7, horizon - 1), (3, 6), hsv(p.u(0.24, 0.36), 0.45, 0.38))
    x, w, h = p.u(12, 105), p.u(30, 48), p.u(13, 20)
    wall = hsv(p.u(0.05, 0.16), p.u(0.05, 0.3), p.u(0.8, 0.97))
    roof = hsv(p.u(-0.06, 0.06), 0.6, 0.55)
    p.rect(x, horizon - h, x + w, horizon, wall)
    p.poly([(x - 3, horizon - h), (x + w + 3, horizon - h), (x + w - 5, horizon - 1.5 * h),
            (x + 5, horizon - 1.5 * h)], roof)
    for k in range(int(w // 6)):
        p.rect(x + 2 + 6 * k, horizon - 0.75 * h, x + 5 + 6 * k, horizon - 0.2 * h,
               shade(wall, 0.55))
    colour = _grass(p, horizon, (0.22, 0.33))
    stripes = p.u(5, 11)
    for k in range(0, int((WORLD_H - horizon) / stripes) + 1, 2):
        y = horizon + k * stripes
        a, b = int(y * p.s), int((y + stripes) * p.s)
        p.img[a:b] = cv2.convertScaleAbs(p.img[a:b], alpha=1.07) if a < len(p.img) else 0
    boards = p.u(3, 5)
    x = -p.u(0, 12)
    while x < WORLD_W:
        w = p.u(9, 20)
        p.rect(max(x, 0), horizon, max(x + w - 0.6, 0), horizon + boards,
               hsv(p.rng.random(), p.u(0.0, 0.7), p.u(0.6, 0.98)))
        x += w
    near, far, slant = p.u(96, 103), p.u(76, 80), p.u(-10, 10)
    clay = hsv(p.u(0.08, 0.12), p.u(0.25, 0.42), p.u(0.68, 0.85))
    p.poly([(-30 + slant, near), (-20 - slant, far), (180 - slant, far), (180 + slant, near)], clay)
    p.noise(0, far, WORLD_W, near, 6, (3, 1))
    side = -1 if p.rng.random() < 0.5 else 1
    x = STAGE[0] + side * p.u(21, 33)
    y, tall = p.u(84, 89), p.u(12, 16)
    p.line((x - 5, far), (x - 7 * side - 5, near), 0.8, (244, 242, 236))
    for k in (-2.2, 0, 2.2):
        p.line((x + k, y), (x + k, y - tall), 0.9, (240, 222, 170))
    p.line((x - 2.4, y - tall), (x + 2.4, y - tall), 0.8, shade(colour, 0.5))


def park(p: Painter) -> None:
    """Park lawn: hills, round trees, a flag on the green, sand bunker."""
    horizon = p.u(46, 58)
    sky(p, horizon)
    hill = hsv(p.u(0.25, 0.45), p.u(0.2, 0.4), p.u(0.5, 0.68))
    xs = np.linspace(0, WORLD_W, 20)
    ys = horizon - 6 - 5 * np.sin(xs / p.u(12, 28) + p.u(0, 6))
    p.poly([(0, horizon + 2), *zip(xs, ys, strict=True), (WORLD_W, horizon + 2)], hill)
    leaf = hsv(p.u(0.2, 0.38) if p.rng.random() < 0.75 else p.u(0.06, 0.13), p.u(0.45, 0.7),
               p.u(0.35, 0.6))
    _grass(p, horizon, (0.2, 0.34))
    for _ in range(p.rng.integers(4, 8)):
        tree(p, p.u(2, WORLD_W - 2), horizon + p.u(0, 7), p.u(18, 34), shade(leaf, p.u(0.8, 1.15)))
    if p.rng.random() < 0.7:
        p.oval(p.u(20, 130), p.u(horizon + 12, 78), p.u(10, 20), p.u(2, 4), (222, 205, 158))
    p.oval(STAGE[0] + p.u(-6, 6), STAGE[1] + 3, p.u(46, 70), p.u(8, 12),
           hsv(p.u(0.24, 0.33), 0.5, p.u(0.62, 0.78)))
    p.noise(0, 70, WORLD_W, WORLD_H, 5, (1.5, 1.2))
    side = -1 if p.rng.random() < 0.5 else 1
    x, y, tall = STAGE[0] + side * p.u(20, 36), p.u(70, 84), p.u(20, 28)
    p.line((x, y), (x, y - tall), 0.9, (240, 240, 235))
    p.poly([(x, y - tall), (x + 8, y - tall + 2.5), (x, y - tall + 5.5)],
           hsv(p.u(-0.06, 0.15), 0.85, 0.92))


def gym(p: Painter) -> None:
    """Boxing gym: brick wall, window or mirror, posters, rubber floor (the bag hangs in front)."""
    floor = p.u(72, 80)
    brick = hsv(p.u(-0.03, 0.09), p.u(0.15, 0.6), p.u(0.4, 0.72))
    p.rect(0, 0, WORLD_W, floor, shade(brick, 0.68))
    w, h = p.u(7, 11), p.u(3.4, 5)
    for row in range(int(floor / h) + 1):
        for col in range(-1, int(WORLD_W / w) + 1):
            x, y = (col + 0.5 * (row % 2)) * w, row * h
            p.rect(max(x, 0), y, max(x + w - 0.7, 0), min(y + h - 0.7, floor),
                   shade(brick, p.u(0.85, 1.15)))
    if p.rng.random() < 0.4:
        p.rect(0, floor - p.u(16, 26), WORLD_W, floor, hsv(p.rng.random(), 0.25, p.u(0.35, 0.6)))
    p.noise(0, 0, WORLD_W, floor, 4)
    for _ in range(p.rng.integers(1, 4)):
        x, y, w, h = p.u(5, 130), p.u(20, 42), p.u(9, 18), p.u(10, 18)
        if p.rng.random() < 0.4:
            window(p, x, y, w, h, (175, 195, 210))
        else:
            p.rect(x, y, x + w, y + h, hsv(p.rng.random(), 0.5, p.u(0.5, 0.9)))
            p.oval(x + w / 2, y + h * 0.45, w * 0.25, h * 0.22, hsv(p.rng.random(), 0.4, 0.9))
    mat = hsv(p.rng.random(), p.u(0.05, 0.35), p.u(0.25, 0.5))
    p.gradient(floor, WORLD_H, shade(mat, 0.85), shade(mat, 1.2))
    for k in range(8):
        x = 76 + (k - 3.5) * p.u(20, 22)
        p.line((x, floor), (76 + (x - 76) * 1.5, WORLD_H), 0.5, shade(mat, 0.65))
    p.noise(0, floor, WORLD_W, WORLD_H, 4)
    p.rect(0, floor - 1.5, WORLD_W, floor, shade(brick, 0.4))
    x = p.u(5, 40) if p.rng.random() < 0.5 else p.u(100, 130)
    for k in range(3):
        p.oval(x + 6 * k, floor + 2, 2.5, 2.5, (45, 45, 50))
        p.oval(x + 6 * k, floor + 2, 1, 1, (120, 120, 125))


def garden(p: Painter) -> None:
    """Garden: house, hedge or fence, lawn, and a trampoline the figure stands on."""
    horizon = p.u(48, 56)
    sky(p, horizon)
    x, w, top = p.u(-6, 90), p.u(50, 72), p.u(10, 22)
    wall = hsv(p.u(0.0, 0.18), p.u(0.08, 0.4), p.u(0.72, 0.95))
    p.rect(max(x, 0), top + 12, x + w, horizon + 8, wall)
    p.poly([(x - 4, top + 13), (x + w + 4, top + 13), (x + w * 0.75, top - 6),
            (x + w * 0.25, top - 6)],
           hsv(p.u(-0.03, 0.07), p.u(0.3, 0.6), p.u(0.35, 0.6)))
    for k in range(3):
        window(p, max(x, 0) + 5 + k * w / 3.2, top + 18, w / 7, 9, (110, 140, 165))
    if p.rng.random() < 0.65:
        hedge = hsv(p.u(0.24, 0.4), p.u(0.45, 0.7), p.u(0.28, 0.45))
        p.rect(0, horizon, WORLD_W, horizon + 15, shade(hedge, 0.85))
        p.blobs(150, (0, WORLD_W), (horizon - 2, horizon + 14), (1.5, 3), hedge, 0.3)
    else:
        wood = hsv(p.u(0.05, 0.11), p.u(0.2, 0.5), p.u(0.5, 0.85))
        step = p.u(4, 6)
        for k in range(int(WORLD_W / step) + 1):
            p.rect(k * step, horizon - 2, (k + 0.85) * step, horizon + 15,
                   shade(wood, p.u(0.85, 1.1)))
    _grass(p, horizon + 14, (0.22, 0.35))
    flower = hsv(p.rng.random(), 0.6, 0.95)
    p.blobs(14, (0, WORLD_W), (horizon + 15, horizon + 19), (0.7, 1.4), flower, 0.2)
    cx, cy, rx, ry = STAGE[0] + p.u(-4, 4), STAGE[1] + 0.5, p.u(31, 39), p.u(6.0, 7.5)
    frame = hsv(p.u(0.5, 0.72), p.u(0.4, 0.8), p.u(0.5, 0.85))
    p.oval(cx, cy + 12, rx * 0.95, ry * 0.8, (52, 72, 40))
    for k in (-0.86, -0.4, 0.4, 0.86):
        y = cy + ry * np.sqrt(1 - k * k)
        p.line((cx + k * rx, y), (cx + k * rx, y + 11), 1.2, (150, 155, 160))
    p.oval(cx, cy, rx, ry, frame)
    p.oval(cx, cy, rx, ry, shade(frame, 0.6), 0.6)
    p.oval(cx, cy, rx - 4, ry - 1.4, shade((52, 52, 60), p.u(0.7, 1.2)))


def hall(p: Painter) -> None:
    """Lit hall: dark room, rows of spectators, spotlights, bright floor."""
    floor = p.u(72, 79)
    tint = p.rng.random()
    p.gradient(0, floor, hsv(tint, 0.5, p.u(0.05, 0.14)), hsv(tint, 0.45, p.u(0.16, 0.28)))
    bottom, rows = floor - p.u(2, 8), int(p.rng.integers(3, 6))
    for row in range(rows):
        y, size = bottom - 7.0 * (rows - 1 - row), 2.0 + 0.22 * row
        x = p.u(-3, 3)
        while x < WORLD_W + 3:
            cloth = hsv(p.rng.random(), p.u(0.1, 0.6), p.u(0.18, 0.42) * (0.7 + 0.1 * row))
            p.oval(x, y + 4.5, 1.7 * size, 2.2 * size, cloth)
            p.oval(x, y + p.u(-0.6, 0.6), size, 1.15 * size,
                   shade((205, 160, 125), p.u(0.25, 0.62) * (0.75 + 0.1 * row)))
            x += p.u(5.2, 7.5)
    p.rect(0, bottom + 3, WORLD_W, floor, hsv(tint + p.u(0.3, 0.7), p.u(0.3, 0.7), p.u(0.2, 0.4)))
    stage = hsv(p.u(0.04, 0.14) if p.rng.random() < 0.6 else p.u(0.5, 0.7), p.u(0.2, 0.45),
                p.u(0.5, 0.72))
    p.gradient(floor, WORLD_H, shade(stage, 0.7), shade(stage, 1.15))
    p.noise(0, floor, WORLD_W, WORLD_H, 5, (8, 0.8))
    p.rect(0, 14, WORLD_W, 16.5, (38, 38, 44))
    colours = [hsv(p.rng.random(), p.u(0.1, 0.55), 1.0) for _ in range(2)]
    for k in range(p.rng.integers(3, 6)):
        x, aim = p.u(8, WORLD_W - 8), p.u(30, WORLD_W - 30)
        p.rect(x - 2, 16, x + 2, 20, (60, 60, 66))
        p.oval(x, 20.5, 1.6, 1.0, (255, 252, 235))
        p.glow([(x - 1, 20), (x + 1, 20), (aim + 14, WORLD_H), (aim - 14, WORLD_H)], colours[k % 2],
               p.u(0.16, 0.3))


SCENES: dict[str, Callable[[Painter], None]] = {
    "cricket": cricket, "park": park, "gym": gym, "garden": garden, "hall": hall,
}


def paint(recipe: Callable[[Painter], None], rng: np.random.Generator, scale: int) -> np.ndarray:
    """Paint one instance of a scene → ``(WORLD_H·scale, WORLD_W·scale, 3)`` uint8 RGB."""
    painter = Painter(rng, scale)
    recipe(painter)
    return painter.img
