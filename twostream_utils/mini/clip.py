"""Rendering of the mini set: ten generated action classes in UCF101's terms.

Five scenes and five motions; every class is one (scene, motion) pair, every scene and every motion
is shared by exactly two classes. A picture tells the scene, the flow tells the motion, and only
both together tell the class.
"""
from __future__ import annotations

import functools
from types import SimpleNamespace

import cv2
import numpy as np

from . import figure as fig
from .motion import MOTIONS, RELEASE, sample
from .scene import SCENES, STAGE, paint

WIDTH, HEIGHT = 96, 72

# Class → (scene, motion, hand prop).
RECIPES: dict[str, tuple[str, str, str]] = {
    "BoxingPunchingBag": ("gym", "punch", "gloves"),
    "CricketBowling": ("cricket", "throw", "ball"),
    "CricketShot": ("cricket", "swing", "bat"),
    "GolfSwing": ("park", "swing", "club"),
    "HulaHoop": ("garden", "sway", "hoop"),
    "JavelinThrow": ("park", "throw", "javelin"),
    "JumpRope": ("gym", "hop", "rope"),
    "Punch": ("hall", "punch", "gloves"),
    "SalsaSpin": ("hall", "sway", "none"),
    "TrampolineJumping": ("garden", "hop", "none"),
}
CLASSES: tuple[str, ...] = tuple(RECIPES)

# --- Difficulty knobs -------------------------------------------------------------------------
# Frames per period: jittered so widely that tempo alone does not name a motion.
PERIOD = {"swing": (24, 34), "throw": (22, 32), "punch": (16, 25), "hop": (11, 16),
          "sway": (11, 17)}
# Small habits by which the two classes of one motion differ (tempo factor, amplitude factor): they
# lift the temporal stream a little above the coin toss it would have between the two. Flow of the
# background helps it too, so keep them within 10 %: at 20 % flow alone named every hop rightly.
HABIT = {"TrampolineJumping": (1.06, 1.08), "JumpRope": (0.96, 0.95), "HulaHoop": (0.97, 1.03),
         "SalsaSpin": (1.04, 0.98), "GolfSwing": (1.05, 1.03), "CricketShot": (0.95, 0.95),
         "JavelinThrow": (1.04, 1.03), "CricketBowling": (0.96, 0.97), "Punch": (0.98, 0.98),
         "BoxingPunchingBag": (1.02, 1.02)}
# Hand props are mixed with the background: a bat as plain as the bag would let one frame decide.
PROP_CONTRAST = 0.4
# Person against scene: far from the camera, limbs are a few pixels wide and poses hard to read.
FIGURE_PX = (42.0, 55.0)
# All motions are seen from the same range of directions (0 profile, 90 frontal).
YAW = (25.0, 60.0)
# Amplitude of the whole motion, per group and per clip: small ones look like standing.
AMPLITUDE = (0.88, 1.18)
# Largest swing of the bag in degrees, the same in both gym classes: more shows the gym in the flow.
BAG_SWING = 0.8
# Camera drift in px per frame and zoom per frame: static scenes flow too, differently in each clip.
DRIFT, ZOOM_DRIFT, SHAKE = 0.22, 0.0012, 0.25
# Sensor noise (grey levels) and light flicker (fraction): no two frames of a wall are equal.
NOISE, FLICKER = 3.0, 0.02

_SS = 2  # supersampling: frames are painted twice as large, anti-aliased, and averaged down


@functools.lru_cache(maxsize=2)
def _group(label: str, group: int, seed: int) -> SimpleNamespace:
    """What the four clips of a group share."""
    scene, motion, _ = RECIPES[label]
    rng = np.random.default_rng([seed, 1, CLASSES.index(label), group])
    tempo, amplitude = HABIT[label]
    person = fig.make_person(rng)
    u = rng.random(12)
    angle = 2 * np.pi * u[0]

    def between(bounds: tuple[float, float], at: float) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * at

    return SimpleNamespace(
        person=person,
        canvas=paint(SCENES[scene], rng, _SS),
        yaw=between(YAW, u[1]),
        mirror=bool(u[2] < 0.5),
        size=between(FIGURE_PX, u[3]),
        at=(40 + 16 * u[4], 58 + 6 * u[5]),
        pan=DRIFT * u[6] * np.array([np.cos(angle), 0.4 * np.sin(angle)]),
        zoom=ZOOM_DRIFT * (2 * u[7] - 1),
        period=between(PERIOD[motion], u[8]) * tempo,
        amplitude=between(AMPLITUDE, u[9]) * amplitude,
        prop=fig.hsv(u[10], 0.4, 0.3 + 0.6 * u[11]),
        bag=26 + 6 * u[9],
    )


def _cameras(g: SimpleNamespace, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Affine maps canvas → supersampled frame, ``(T, 2, 3)`` float64."""
    t = np.arange(frames) - frames / 2
    u = rng.random(8)
    zoom = g.size / 46 * (1 + 0.06 * (u[0] - 0.5)) * np.exp(g.zoom * t)
    pan = g.pan * (0.4 + 1.2 * u[1])
    x = g.at[0] + 6 * (u[2] - 0.5) + pan[0] * t + SHAKE * np.sin(t / (4 + 5 * u[3]) + 6 * u[4])
    y = g.at[1] + 3 * (u[5] - 0.5) + pan[1] * t + SHAKE * np.sin(t / (4 + 5 * u[6]) + 6 * u[7])
    maps = np.zeros((frames, 2, 3))
    maps[:, 0, 0] = maps[:, 1, 1] = zoom
    maps[:, 0, 2] = _SS * (x - zoom * STAGE[0])
    maps[:, 1, 2] = _SS * (y - zoom * STAGE[1])
    return maps


def _blend(a: fig.Colour, b, share: float) -> fig.Colour:
    return tuple(int(share * p + (1 - share) * q) for p, q in zip(a, b, strict=True))


def _draw_bag(img: np.ndarray, m: np.ndarray, g: SimpleNamespace, swing: float) -> None:
    z = m[0, 0] * _SS
    top = np.array([m[0, 0] * _SS * (STAGE[0] + g.bag) + m[0, 2], m[1, 1] * _SS * 8 + m[1, 2]])
    direction = np.array([np.sin(swing), np.cos(swing)])
    a, b = top + 30 * z * direction, top + 60 * z * direction
    fig.stroke(img, top, a, 0.6 * z, (70, 70, 75))
    colour = _blend(g.prop, (120, 50, 40), 0.4)
    fig.limb(img, a, b, 9 * z, colour)
    fig.stroke(img, a + (-2 * z, 0), b + (-2 * z, 0), 2 * z, fig.shade(colour, 1.25))


def _draw_prop(img, prop, pts, stick, size, colour, phase, flight) -> None:
    hand = pts[fig.R_HAND]
    if prop in ("bat", "club"):
        length, width = (0.34, 0.03) if prop == "bat" else (0.4, 0.016)
        fig.stroke(img, hand, hand + length * size * stick, width * size, colour)
    elif prop == "ball":
        fig.disc(img, hand if flight is None else flight, 0.03 * size, colour)
    elif prop == "javelin":
        centre = hand if flight is None else flight
        fig.stroke(img, centre - 0.4 * size * stick, centre + 0.4 * size * stick, 0.014 * size,
                    colour)
    elif prop == "rope":
        a, b = pts[fig.R_HAND], pts[fig.L_HAND]
        lowest = pts[fig.PELVIS] + np.array([0, 0.62 * size]) * np.cos(2 * np.pi * phase)
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * (2 * lowest - 0.5 * (a + b)) + t**2 * b
        cv2.polylines(img, [(curve * 16).astype(np.int32)], False, colour, 1, cv2.LINE_AA, 4)
    elif prop == "hoop":
        tilt = 9 * np.sin(2 * np.pi * phase)
        cx, cy = pts[fig.PELVIS]
        cv2.ellipse(img, (int(cx), int(cy)), (int(0.23 * size), int(0.06 * size)), tilt, -20, 200,
                    colour, 2, cv2.LINE_AA)


def render_clip(
    label: str, group: int, number: int, seed: int = 0, length: int | None = None
) -> np.ndarray:
    """Render clip `number` (1–4) of a group (1–25) → ``(T, 72, 96, 3)`` uint8 RGB, T 52–70.

    The group fixes person, scene, camera and tempo; the number varies phase, amplitude, length and
    small camera jitter. `length` asks for the first frames only. Raises ValueError for a label that
    is not in `CLASSES`.
    """
    if label not in RECIPES:
        raise ValueError(f"unknown mini class {label!r}; the classes are {', '.join(CLASSES)}")
    scene, motion, prop = RECIPES[label]
    g = _group(label, group, seed)
    rng = np.random.default_rng([seed, 2, CLASSES.index(label), group, number])
    frames = int(rng.integers(52, 71))
    maps = _cameras(g, frames, rng)
    phase = rng.random() + np.arange(frames) / (g.period * rng.uniform(0.95, 1.05))
    poses = sample(MOTIONS[motion], phase)
    mean = sample(MOTIONS[motion], np.linspace(0, 1, 48, endpoint=False)).mean(0)
    poses = mean + (poses - mean) * g.amplitude * rng.uniform(0.9, 1.1)
    body = fig.joints(poses, g.person, g.yaw + rng.uniform(-4, 4))
    swing = np.deg2rad(BAG_SWING) * np.sin(np.pi * phase)
    flicker = 1 + FLICKER * rng.standard_normal(frames)
    size, flight_from = 46 * _SS, None
    out = np.empty((len(maps[:length]), HEIGHT, WIDTH, 3), np.uint8)
    for i, m in enumerate(maps[:length]):
        img = cv2.warpAffine(g.canvas, m, (WIDTH * _SS, HEIGHT * _SS), flags=cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REFLECT_101)
        scale = m[0, 0] * size
        foot = np.array([m[0, 0] * _SS * STAGE[0] + m[0, 2], m[1, 1] * _SS * STAGE[1] + m[1, 2]])
        pts = foot + scale * body[i, :, :2]
        air = -body[i, [fig.R_ANKLE, fig.L_ANKLE], 1].min()
        fig.draw_shadow(img, (0.5 * (pts[fig.PELVIS][0] + foot[0]), foot[1]), scale,
                        0.42 - min(0.2, max(0.0, air)))
        if scene == "gym":
            _draw_bag(img, m, g, swing[i])
        stick = body[i, fig.STICK, :2] - body[i, fig.R_HAND, :2]
        under = img[np.clip(int(pts[0][1]), 0, len(img) - 1),
                    np.clip(int(pts[0][0] + 0.3 * scale), 0, img.shape[1] - 1)]
        colour = _blend(g.prop, under, PROP_CONTRAST)
        flight = None
        if prop in ("ball", "javelin"):
            since = (phase[i] % 1.0) - RELEASE
            if since < 0:
                flight_from = pts[fig.R_HAND]
            elif flight_from is not None:
                lag = since * g.period
                flight = flight_from + _SS * np.array([5.0 * lag, 0.12 * lag * lag - 0.8 * lag])
        fig.draw_figure(img, pts, body[i, :, 2], g.person, scale,
                        gloves=g.prop if prop == "gloves" else None)
        if prop not in ("ball", "javelin") or phase[i] % 1.0 < RELEASE or flight is not None:
            _draw_prop(img, prop, pts, stick, scale, colour, phase[i], flight)
        small = cv2.resize(img, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        out[i] = cv2.convertScaleAbs(small, alpha=flicker[i])
    if g.mirror:
        out = out[:, :, ::-1]
    noise = rng.standard_normal((8, HEIGHT, WIDTH, 3), np.float32) * NOISE
    for i in range(len(out)):
        out[i] = cv2.add(np.ascontiguousarray(out[i]), noise[rng.integers(8)], dtype=cv2.CV_8U)
    return out
