"""The five motions of the mini set as periodic key poses, and the still poses for pre-training."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .figure import REST, pack

Key = tuple[float, Mapping[str, Sequence[float]]]


def _plane(degrees: float):
    """Return a function that places a hand in the vertical plane the stroke runs in."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))

    def place(along: float, out: float, up: float) -> tuple[float, float, float]:
        return along * c + out * s, -along * s + out * c, up
    return place


def _both(hand: tuple[float, float, float]) -> dict[str, tuple[float, float, float]]:
    f, r, y = hand
    return {"rh": (f, r + 0.015, y - 0.01), "lh": (f, r - 0.015, y + 0.02)}


def _swing() -> list[Key]:
    p = _plane(50)
    feet = {"rf": (-0.09, 0.1, 0), "lf": (0.1, -0.09, 0)}
    return [
        (0.00, {**_both(p(0.02, 0.15, -0.29)), "stick": p(0.25, 0.4, -0.9), "lean": (17,),
                "pelvis": (-0.02, 0, -0.03), **feet}),
        (0.16, {**_both(p(-0.02, 0.15, -0.28)), "stick": p(0.05, 0.4, -0.9), "lean": (17,),
                "pelvis": (-0.02, 0, -0.035), **feet}),
        (0.34, {**_both(p(-0.22, 0.12, -0.10)), "stick": p(-0.9, 0.1, 0.3), "lean": (12,),
                "twist": (-30,), "pelvis": (-0.03, 0.01, -0.03), **feet}),
        (0.46, {**_both(p(-0.22, 0.06, 0.07)), "stick": p(-0.1, -0.1, 1), "lean": (9,),
                "twist": (-42,), "pelvis": (-0.03, 0.01, -0.03), **feet}),
        (0.58, {**_both(p(0.05, 0.16, -0.27)), "stick": p(0.1, 0.35, -0.95), "lean": (15,),
                "twist": (0,), "pelvis": (0.01, -0.01, -0.03), **feet}),
        (0.70, {**_both(p(0.25, 0.08, -0.02)), "stick": p(0.75, -0.1, 0.7), "lean": (4,),
                "twist": (35,), "pelvis": (0.04, -0.02, -0.01), **feet}),
        (0.80, {**_both(p(0.2, 0.02, 0.1)), "stick": p(-0.3, -0.5, 0.8), "lean": (0,),
                "twist": (42,), "pelvis": (0.05, -0.02, -0.01), **feet}),
    ]


def _throw() -> list[Key]:
    p = _plane(12)
    return [
        (0.00, {"rh": p(0.14, 0.11, -0.14), "lh": p(0.15, -0.09, -0.14), "stick": p(1, 0, 0.1),
                "rf": (-0.08, 0.075, 0), "lf": (0.06, -0.075, 0)}),
        (0.20, {"rh": p(-0.12, 0.19, -0.16), "lh": p(0.2, -0.12, -0.02), "stick": p(1, 0, 0.3),
                "lean": (-6,), "twist": (-28,), "pelvis": (-0.05, 0, -0.03),
                "rf": (-0.1, 0.075, 0), "lf": (0.1, -0.075, 0.07)}),
        (0.36, {"rh": p(-0.27, 0.17, 0.04), "lh": p(0.27, -0.12, 0.08), "stick": p(1, 0, 0.35),
                "lean": (-13,), "twist": (-40,), "pelvis": (-0.04, 0, -0.03),
                "rf": (-0.13, 0.075, 0), "lf": (0.19, -0.075, 0.03)}),
        (0.46, {"rh": p(-0.08, 0.13, 0.25), "lh": p(0.16, -0.15, -0.08), "stick": p(1, 0, 0.25),
                "lean": (2,), "twist": (-5,), "pelvis": (0.02, 0, -0.03),
                "rf": (-0.14, 0.075, 0), "lf": (0.2, -0.075, 0)}),
        (0.54, {"rh": p(0.22, 0.09, 0.13), "lh": p(-0.02, -0.19, -0.2), "stick": p(1, 0, -0.1),
                "lean": (17,), "twist": (25,), "pelvis": (0.07, 0, -0.03),
                "rf": (-0.14, 0.075, 0.02), "lf": (0.2, -0.075, 0)}),
        (0.64, {"rh": p(0.24, -0.02, -0.2), "lh": p(-0.2, -0.15, -0.14), "stick": p(1, 0, -0.5),
                "lean": (30,), "twist": (40,), "pelvis": (0.1, 0, -0.05),
                "rf": (-0.05, 0.075, 0.06), "lf": (0.2, -0.075, 0)}),
        (0.82, {"rh": p(0.1, 0.1, -0.27), "lh": p(0.05, -0.16, -0.26), "stick": p(1, 0, -0.2),
                "lean": (10,), "pelvis": (0.05, 0, -0.02),
                "rf": (0.02, 0.075, 0.02), "lf": (0.1, -0.075, 0)}),
    ]


def _punch() -> list[Key]:
    stance = {"rf": (-0.12, 0.075, 0), "lf": (0.12, -0.075, 0), "lean": (7,)}
    guard_r, guard_l = (0.14, 0.07, -0.05), (0.18, -0.06, -0.04)
    back = {"rh": guard_r, "lh": guard_l, **stance}
    return [
        (0.00, {**back, "pelvis": (0, 0, -0.035)}),
        (0.14, {**back, "lh": (0.1, -0.11, -0.09), "twist": (-8,), "pelvis": (-0.02, 0, -0.05)}),
        (0.27, {**back, "lh": (0.36, -0.07, -0.01), "twist": (-24,), "lean": (12,),
                "pelvis": (0.03, 0, -0.035)}),
        (0.42, {**back, "pelvis": (0, 0, -0.03)}),
        (0.62, {**back, "rh": (0.04, 0.13, -0.1), "twist": (-12,), "pelvis": (-0.03, 0, -0.05)}),
        (0.76, {**back, "rh": (0.37, 0.0, 0.0), "twist": (34,), "lean": (15,),
                "pelvis": (0.05, 0, -0.035)}),
        (0.90, {**back, "twist": (6,), "pelvis": (0.01, 0, -0.035)}),
    ]


def _hop() -> list[Key]:
    def hands(f: float, r: float, y: float) -> dict[str, tuple[float, float, float]]:
        return {"rh": (f, r, y), "lh": (f, -r, y)}
    return [
        (0.00, {**hands(0.06, 0.22, -0.26), "pelvis": (-0.01, 0, -0.07), "lean": (9,)}),
        (0.16, {**hands(0.09, 0.24, -0.23), "pelvis": (0, 0, -0.01), "lift": (0.02,)}),
        (0.34, {**hands(0.10, 0.25, -0.18), "pelvis": (0, 0, 0), "lift": (0.11,)}),
        (0.50, {**hands(0.08, 0.25, -0.16), "pelvis": (0, 0, -0.01), "lift": (0.145,)}),
        (0.66, {**hands(0.06, 0.25, -0.18), "pelvis": (0, 0, 0), "lift": (0.11,)}),
        (0.84, {**hands(0.04, 0.23, -0.22), "pelvis": (0, 0, -0.01), "lift": (0.02,)}),
    ]


def _sway() -> list[Key]:
    keys: list[Key] = []
    for k in range(8):
        a = 2 * np.pi * k / 8
        c, s = np.cos(a), np.sin(a)
        keys.append((k / 8, {
            "pelvis": (0.075 * c, 0.115 * s, -0.04), "side": (-20 * s,), "lean": (4 - 11 * c,),
            "twist": (10 * s,), "turn": (8 * s,),
            "rh": (0.14 - 0.05 * c, 0.25, -0.09 + 0.09 * s),
            "lh": (0.14 - 0.05 * c, -0.25, -0.09 - 0.09 * s),
            "rf": (-0.03, 0.1, 0.0), "lf": (0.04, -0.1, 0.0)}))
    return keys


MOTIONS: dict[str, list[Key]] = {
    "swing": _swing(), "throw": _throw(), "punch": _punch(), "hop": _hop(), "sway": _sway(),
}
RELEASE = 0.53  # phase of `throw` at which the hand lets go


def sample(keys: Sequence[Key], phase: np.ndarray) -> np.ndarray:
    """Interpolate periodic key poses at phases ``(T,)`` (1 = a whole period) → ``(T, C)``.

    Cubic Hermite with finite-difference tangents: smooth through the keys, no stop at each.
    """
    times = np.array([t for t, _ in keys])
    values = np.stack([pack(p) for _, p in keys])
    n = len(times)
    period = np.concatenate([times[-1:] - 1, times, times[:2] + 1])
    ring = np.concatenate([values[-1:], values, values[:2]])
    slope = (ring[2:] - ring[:-2]) / (period[2:] - period[:-2])[:, None]
    phase = np.mod(phase, 1.0)
    phase = np.where(phase < times[0], phase + 1, phase)
    i = np.clip(np.searchsorted(times, phase, side="right") - 1, 0, n - 1)
    h = (period[i + 2] - period[i + 1])[:, None]
    x = ((phase - period[i + 1])[:, None]) / h
    a, b, ma, mb = ring[i + 1], ring[i + 2], slope[i] * h, slope[i + 1] * h
    x2, x3 = x * x, x * x * x
    rise = 3 * x2 - 2 * x3
    return (1 - rise) * a + rise * b + (x3 - 2 * x2 + x) * ma + (x3 - x2) * mb


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
