"""How people move in the mini set: one function a motion, all of them through the same postures.

A hand is described by its path around a resting point. What differs between motions is the
direction, the order or the place of that path, so flow tells them apart and a still does not.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .figure import REST, SLICES, pack

# Frames a cycle of the hands takes, and how far they go, in body heights: the same for all motions.
PERIOD, REACH = (9.0, 13.0), (0.075, 0.1)
# Slow wandering of each hand, in body heights: between two RGB frames a hand is carried further by
# it than by its motion, from one frame to the next much less.
WANDER = 0.035
# Frames a beat of the drum takes where it is slow and where it is fast.
SLOW, FAST = (20.0, 26.0), (5.5, 6.5)


@dataclass(frozen=True)
class Habit:
    """What a clip's motion is made of: phase ``(T,)`` in cycles, reach, and the sense (±1)."""

    phase: np.ndarray
    reach: float
    sense: int


Path = tuple[np.ndarray, np.ndarray]  # outwards and upwards, each (T,), in body heights


def flap(h: Habit) -> Path:
    s = 0.82 * h.reach * np.sin(2 * np.pi * h.phase)
    return s, s


def clap(h: Habit) -> Path:
    s = 0.82 * h.reach * np.sin(2 * np.pi * h.phase)
    return -s, s


def circle(h: Habit) -> Path:
    angle = 2 * np.pi * h.sense * h.phase
    return 0.82 * h.reach * np.cos(angle), 0.82 * h.reach * np.sin(angle)


def beat(h: Habit) -> Path:
    return np.zeros_like(h.phase), h.reach * np.sin(2 * np.pi * h.phase)


@dataclass(frozen=True)
class Motion:
    """A path, which hands follow it, and where they rest: forward, outwards, up from the neck."""

    path: Callable[[Habit], Path]
    rest: tuple[float, float, float]
    hands: str = "both"  # "both" in step, "turns" half a cycle apart, "one" only
    tempo: int = 0  # 1: from slow to fast, -1: from fast to slow
    reach: float = 1.0
    nod: float = 0.0  # of the whole body, in body heights


MOTIONS = {
    "flap": Motion(flap, (0.14, 0.285, -0.07)),
    "clap": Motion(clap, (0.14, 0.21, -0.07)),
    "circle": Motion(circle, (0.14, 0.25, -0.07)),
    "faster": Motion(beat, (0.17, 0.24, -0.07), "turns", 1, 0.8, 0.035),
    "slower": Motion(beat, (0.17, 0.24, -0.07), "turns", -1, 0.8, 0.035),
    "wipe": Motion(beat, (0.06, 0.33, 0.03), "one"),
}


def phases(motion: Motion, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return the phase of the motion in each frame, ``(T,)`` float64, in cycles."""
    start = rng.random()
    if not motion.tempo:
        return start + np.arange(frames) / rng.uniform(*PERIOD)
    slow, fast = 1 / rng.uniform(*SLOW), 1 / rng.uniform(*FAST)
    rise = np.linspace(-1, 1, frames)
    tempo = slow + (fast - slow) * (0.5 + 0.75 * rise - 0.25 * rise**3)  # cycles a frame
    return start + np.cumsum(tempo[:: motion.tempo])


def wander(frames: int, rng: np.random.Generator, amount: float = WANDER) -> np.ndarray:
    """Return slow, smooth drifting, ``(T, 3)`` float64: two long waves in each direction."""
    t = np.arange(frames)[:, None, None]
    period, phase = rng.uniform(35, 80, (2, 3)), rng.random((2, 3))
    waves = np.sin(2 * np.pi * (t / period + phase))
    return amount * 0.7 * waves.sum(axis=1)


def poses(
    motion: Motion, frames: int, room: float, side: int, sense: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the packed poses of a clip, ``(T, C)`` float64.

    `room` scales the reach, `side` (±1) is the hand that moves where only one does, and `sense`
    (±1) turns circles round.
    """
    body = np.tile(pack({}), (frames, 1))
    phase, reach = phases(motion, frames, rng), room * motion.reach * rng.uniform(*REACH)
    rest = np.array(motion.rest) + rng.uniform(-0.035, 0.035, 3)
    for sign, hand in ((1, "rh"), (-1, "lh")):
        shifted = phase + (0.5 if motion.hands == "turns" and sign < 0 else 0.0)
        moves = motion.hands != "one" or sign == side
        out, up = motion.path(Habit(shifted, reach * moves, sense))
        place = rest + wander(frames, rng)
        place[:, 1] += out
        place[:, 2] += up
        place[:, 1] *= sign
        body[:, SLICES[hand]] = place
    sway = wander(frames, rng, 0.006)
    sway[:, 2] += motion.nod * (np.sin(2 * np.pi * phase) - 1)
    body[:, SLICES["pelvis"]] += sway
    body[:, SLICES["rf"]] = np.array(REST["rf"]) + (0, 0.02, 0)
    body[:, SLICES["lf"]] = np.array(REST["lf"]) - (0, 0.02, 0)
    return body
