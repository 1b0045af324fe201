"""Rendering of the mini set: ten generated action classes, each there for one lesson.

- Ring: three places × three motions, each shared by two classes. A still tells the place, flow
  tells the motion, and only both together tell the class.
- Time pair: `DrumFaster` and `DrumSlower` are each other's film played backwards.
- Where pair: a board on one side of a person and a window on the other, a hand at each, and one of
  the two hands wipes. A still shows both things and both hands, flow shows a hand that moves; at
  which thing it moves, only both at one place can tell.
"""
from __future__ import annotations

import functools
from types import SimpleNamespace

import cv2
import numpy as np

from . import figure as fig
from .motion import MOTIONS, poses
from .scene import SCENES, STAGE, paint

WIDTH, HEIGHT = 96, 72

# Class → (scene, motion, hand): the hand that wipes is on the board's side (+1) or the window's.
RECIPES: dict[str, tuple[str, str, int]] = {
    "CirclePark": ("park", "circle", 1),
    "CircleSchool": ("school", "circle", 1),
    "ClapOffice": ("office", "clap", 1),
    "ClapSchool": ("school", "clap", 1),
    "DrumFaster": ("stage", "faster", 1),
    "DrumSlower": ("stage", "slower", 1),
    "FlapOffice": ("office", "flap", 1),
    "FlapPark": ("park", "flap", 1),
    "WipeBoard": ("hobby", "wipe", 1),
    "WipeWindow": ("hobby", "wipe", -1),
}
CLASSES: tuple[str, ...] = tuple(RECIPES)

# Gestures are larger where there is room. A small hint at the place, as there are in any data.
ROOM = {"office": 0.82, "school": 1.0, "park": 1.2, "stage": 1.0, "hobby": 1.0}
# Share of a class's groups in warm light, all others in cold: the hint that a still has at which of
# the two classes of a place it shows. Grey flow does not see it.
WARM = {"CirclePark": 0.75, "FlapPark": 0.25, "ClapOffice": 0.75, "FlapOffice": 0.25,
        "CircleSchool": 0.75, "ClapSchool": 0.25}
TINT = np.array([1.2, 1.0, 0.82])
# Height of the figure in px, and where its feet are, per group.
FIGURE_PX, FEET_X, FEET_Y = (49.0, 57.0), (42.0, 54.0), (61.0, 66.0)
# From three quarters to frontal, the same for all motions.
YAW = (78.0, 102.0)
# Camera: shaking in px; the share of clips with a slow pan, and its px per frame.
SHAKE, PANS, PAN = 0.2, 0.3, (0.2, 0.4)
# Sensor noise (grey levels) and flicker of the light (fraction): no two frames of a wall are equal.
NOISE, FLICKER = 2.0, 0.015

_SS = 2  # supersampling: frames are painted twice as large, anti-aliased, and averaged down


def _between(bounds: tuple[float, float], at: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * at


@functools.lru_cache(maxsize=2)
def _group(label: str, group: int, seed: int) -> SimpleNamespace:
    """What the four clips of a group share: person, scene, and roughly where the camera stands."""
    rng = np.random.default_rng([seed, 1, CLASSES.index(label), group])
    person = fig.make_person(rng)
    u = rng.random(7)
    warm = u[6] < WARM.get(label, 0.5)
    return SimpleNamespace(
        person=person,
        canvas=paint(SCENES[RECIPES[label][0]], rng, _SS),
        tint=TINT if warm else TINT[::-1],
        yaw=_between(YAW, u[0]),
        size=_between(FIGURE_PX, u[1]),
        at=(_between(FEET_X, u[2]), _between(FEET_Y, u[3])),
        drum=fig.hsv(u[4], 0.6, 0.4 + 0.4 * u[5]),
    )


def _cameras(g: SimpleNamespace, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Affine maps canvas → supersampled frame, ``(T, 2, 3)`` float64."""
    t = np.arange(frames) - frames / 2
    u = rng.random(9)
    zoom = g.size / 46 * (1 + 0.06 * (u[0] - 0.5))
    pan = _between(PAN, u[1] / PANS) * np.sign(u[2] - 0.5) if u[1] < PANS else 0.0
    x = g.at[0] + 6 * (u[3] - 0.5) + pan * t + SHAKE * np.sin(t / (4 + 5 * u[4]) + 6 * u[5])
    y = g.at[1] + 3 * (u[6] - 0.5) + SHAKE * np.sin(t / (4 + 5 * u[7]) + 6 * u[8])
    maps = np.zeros((frames, 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = zoom
    maps[:, 0, 2] = _SS * (x - zoom * STAGE[0])
    maps[:, 1, 2] = _SS * (y - zoom * STAGE[1])
    return maps


def _draw_drum(img: np.ndarray, pelvis: np.ndarray, size: float, colour: fig.Colour) -> None:
    top = pelvis + np.array([0, -0.01 * size])
    for k, shade in ((0.16, 0.6), (0.0, 1.0)):
        centre = top + np.array([0, k * size])
        if k:
            cv2.rectangle(img, (int(top[0] - 0.31 * size), int(top[1])),
                          (int(top[0] + 0.31 * size), int(centre[1])), colour, -1)
        cv2.ellipse(img, (int(centre[0]), int(centre[1])), (int(0.31 * size), int(0.06 * size)), 0,
                    0, 360, fig.shade(colour, shade) if k else (235, 230, 215), -1, cv2.LINE_AA)


def render_clip(
    label: str, group: int, number: int, seed: int = 0, length: int | None = None
) -> np.ndarray:
    """Render clip `number` (1–4) of a group (1–25) → ``(T, 72, 96, 3)`` uint8 RGB, T 52–61.

    The group fixes person and scene; the number varies tempo, phase, reach, length, camera, and
    which way round everything is. `length` asks for the first frames only. Raises ValueError for a
    label that is not in `CLASSES`.
    """
    if label not in RECIPES:
        raise ValueError(f"unknown mini class {label!r}; the classes are {', '.join(CLASSES)}")
    scene, motion, hand = RECIPES[label]
    g = _group(label, group, seed)
    rng = np.random.default_rng([seed, 2, CLASSES.index(label), group, number])
    frames = int(rng.integers(52, 62))
    maps = _cameras(g, frames, rng)
    # The figure's right is the picture's left, where the canvas has its first thing. To swap the
    # things and to mirror the film are two throws: no side of figure or picture tells the class.
    swapped, mirrored = rng.random(2) < 0.5
    side = -hand if swapped else hand
    canvas = np.ascontiguousarray(g.canvas[:, ::-1]) if swapped else g.canvas
    body = fig.joints(
        poses(MOTIONS[motion], frames, ROOM[scene], side, int(rng.choice((-1, 1))), rng),
        g.person, g.yaw + rng.uniform(-4, 4),
    )
    flicker = 1 + FLICKER * rng.standard_normal(frames)
    size = 46 * _SS
    out = np.empty((len(maps[:length]), HEIGHT, WIDTH, 3), np.uint8)
    for i, m in enumerate(maps[:length]):
        img = cv2.warpAffine(canvas, m, (WIDTH * _SS, HEIGHT * _SS), flags=cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REFLECT_101)
        scale = m[0, 0] * size
        foot = np.array([m[0, 0] * _SS * STAGE[0] + m[0, 2], m[1, 1] * _SS * STAGE[1] + m[1, 2]])
        pts = foot + scale * body[i, :, :2]
        fig.draw_shadow(img, (pts[fig.PELVIS][0], foot[1]), scale, 0.42)
        fig.draw_figure(img, pts, body[i, :, 2], g.person, scale)
        if scene == "stage":
            _draw_drum(img, pts[fig.PELVIS], scale, g.drum)
        small = cv2.resize(img, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        out[i] = cv2.multiply(small, (*flicker[i] * g.tint, 0))
    noise = rng.standard_normal((8, HEIGHT, WIDTH, 3), np.float32) * NOISE
    for i in range(len(out)):
        seen = cv2.flip(out[i], 1) if mirrored else out[i]
        out[i] = cv2.add(seen, noise[rng.integers(8)], dtype=cv2.CV_8U)
    return out
