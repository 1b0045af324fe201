"""An articulated human figure: proportions, clothing, limb geometry and drawing.

A pose is a set of targets for pelvis, hands, feet and trunk; knees and elbows follow by
two-bone inverse kinematics, so planted feet stay planted and two hands can share one stick.
Body axes are forward, right and up, in body heights; the figure's right side is near the camera.
"""
from __future__ import annotations

import colorsys
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[int, int, int]

# The rest pose, and with it the list of pose channels. Hands are relative to the base of the
# neck, feet to the ground below the figure, pelvis to its standing height; angles in degrees.
REST: dict[str, tuple[float, ...]] = {
    "pelvis": (0.0, 0.0, -0.015),
    "rh": (0.04, 0.17, -0.30),
    "lh": (0.04, -0.17, -0.30),
    "rf": (-0.02, 0.075, 0.0),
    "lf": (0.03, -0.075, 0.0),
    "stick": (0.2, 0.0, -1.0),
    "lift": (0.0,),
    "lean": (3.0,),
    "side": (0.0,),
    "twist": (0.0,),
    "turn": (0.0,),
    "roll": (0.0,),
}
SLICES: dict[str, slice] = {}
for _name, _value in REST.items():
    _start = sum(len(REST[k]) for k in SLICES)
    SLICES[_name] = slice(_start, _start + len(_value))

(PELVIS, NECK, HEAD, R_SHOULDER, R_ELBOW, R_HAND, L_SHOULDER, L_ELBOW, L_HAND, R_HIP, R_KNEE,
 R_ANKLE, L_HIP, L_KNEE, L_ANKLE, R_TOE, L_TOE, STICK) = range(18)

_THIGH, _SHIN, _ANKLE = 0.245, 0.24, 0.03
_TRUNK, _UPPER_ARM, _FOREARM = 0.29, 0.165, 0.165
_ELEVATION = 0.16  # how far a point nearer to the camera sinks in the picture


@dataclass(frozen=True)
class Person:
    """Looks of one person; lengths are factors of the standard proportions."""

    height: float
    build: float
    head: float
    shoulders: float
    skin: Colour
    hair: Colour
    shirt: Colour
    accent: Colour
    trousers: Colour
    shoes: Colour
    pattern: str
    hair_style: str
    shorts: bool
    short_sleeves: bool


def pack(pose: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return one pose as a vector ``(C,)`` float64, missing channels taken from `REST`."""
    return np.concatenate([np.atleast_1d(pose.get(k, v)) for k, v in REST.items()]).astype(float)


def hsv(h: float, s: float, v: float) -> Colour:
    """Return an RGB colour 0–255 from hue, saturation and value in 0–1."""
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0), 1), min(max(v, 0), 1))
    return int(255 * r), int(255 * g), int(255 * b)


@functools.lru_cache(maxsize=1000)  # a clip's figure is drawn with the same ones in each frame
def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` darker (factor < 1) or lighter (factor > 1)."""
    r, g, b = (int(min(255, c * factor)) for c in colour)
    return r, g, b


_SKINS = ((255, 219, 190), (241, 194, 160), (224, 172, 120), (198, 134, 90), (141, 85, 50),
          (95, 58, 38))
_HAIRS = ((30, 24, 22), (62, 40, 26), (110, 70, 36), (190, 150, 80), (150, 62, 30), (170, 168, 165))


def make_person(rng: np.random.Generator) -> Person:
    """Draw a random person: proportions, skin, hair and clothing."""
    u = rng.random(16)
    return Person(
        height=0.94 + 0.12 * u[0],
        build=0.85 + 0.35 * u[1],
        head=0.95 + 0.2 * u[2],
        shoulders=0.9 + 0.25 * u[3],
        skin=_SKINS[int(u[4] * len(_SKINS))],
        hair=_HAIRS[int(u[5] * len(_HAIRS))],
        shirt=hsv(u[6], 0.15 + 0.75 * u[7], 0.45 + 0.53 * u[8]),
        accent=hsv(u[6] + 0.2 + 0.6 * u[9], 0.5, 0.95 if u[8] < 0.5 else 0.35),
        trousers=hsv(u[10], 0.1 + 0.5 * u[11], 0.2 + 0.6 * u[12]),
        shoes=hsv(u[9], 0.6 * u[7], 0.2 + 0.75 * u[11]),
        pattern=("plain", "hoops", "bib", "band")[int(u[13] * 4)],
        hair_style=("short", "long", "bun", "cap", "short")[int(u[14] * 5)],
        shorts=bool(u[15] < 0.4),
        short_sleeves=bool(u[12] < 0.6),
    )


def _bend(root: np.ndarray, target: np.ndarray, first: float, second: float,
          pole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-bone inverse kinematics for ``(T, 3)`` points: the middle joint and the end."""
    delta = target - root
    distance = np.sqrt((delta * delta).sum(-1, keepdims=True)) + 1e-9
    axis = delta / distance
    reach = np.clip(distance, abs(first - second) + 1e-3, 0.998 * (first + second))
    along = (first**2 - second**2 + reach**2) / (2 * reach)
    out = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    pole = pole - (pole * axis).sum(-1, keepdims=True) * axis
    pole = pole / (np.sqrt((pole * pole).sum(-1, keepdims=True)) + 1e-9)
    return root + along * axis + out * pole, root + reach * axis


def joints(poses: np.ndarray, person: Person, yaw: float | np.ndarray) -> np.ndarray:
    """Place the 18 joints of packed poses ``(T, C)`` in the picture.

    Returns ``(T, 18, 3)`` float64: x to the right, y down (0 = ground), depth towards the camera,
    all in body heights. `yaw` in degrees turns the figure from profile (0) to the camera (90).
    """
    ch = {k: poses[:, s] for k, s in SLICES.items()}
    rad = {k: np.deg2rad(ch[k][:, 0]) for k in ("lean", "side", "twist", "turn", "roll")}
    t = len(poses)
    body = np.empty((t, 18, 3))
    lift = np.zeros((t, 3))
    lift[:, 2] = ch["lift"][:, 0]
    pelvis = ch["pelvis"] + lift + (0, 0, _THIGH + _SHIN + _ANKLE)
    up = np.stack([np.sin(rad["lean"]), np.sin(rad["side"]),
                   np.cos(rad["lean"]) * np.cos(rad["side"])], -1)
    neck = pelvis + _TRUNK * up
    body[:, PELVIS], body[:, NECK] = pelvis, neck
    body[:, HEAD] = neck + 0.115 * person.head * up + (0.012, 0, 0)
    across = np.stack([np.sin(rad["twist"]), np.cos(rad["twist"]), np.zeros(t)], -1)
    for sign, shoulder, hip, hand, foot in ((1, R_SHOULDER, R_HIP, "rh", "rf"),
                                            (-1, L_SHOULDER, L_HIP, "lh", "lf")):
        body[:, shoulder] = neck + sign * 0.105 * person.shoulders * across - 0.035 * up
        body[:, shoulder + 1], body[:, shoulder + 2] = _bend(
            body[:, shoulder], neck + ch[hand], _UPPER_ARM, _FOREARM,
            np.array([-0.35, 0.55 * sign, -0.75]))
        body[:, hip] = pelvis + (0.0, sign * 0.06, -0.01)
        ankle = ch[foot] + lift + (0, 0, _ANKLE)
        body[:, hip + 1], body[:, hip + 2] = _bend(
            body[:, hip], ankle, _THIGH, _SHIN, np.array([1.0, 0.3 * sign, 0.0]))
        body[:, R_TOE if sign > 0 else L_TOE] = body[:, hip + 2] + (0.075, 0.02 * sign, -0.012)
    stick = ch["stick"] / (np.linalg.norm(ch["stick"], axis=-1, keepdims=True) + 1e-9)
    body[:, STICK] = body[:, R_HAND] + stick
    angle = (np.deg2rad(yaw) + rad["turn"])[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    f, r, y = body[..., 0], body[..., 1], body[..., 2]
    depth = f * sin + r * cos
    out = np.stack([f * cos - r * sin, _ELEVATION * depth - y, depth], -1)
    roll = rad["roll"]
    if roll.any():
        c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
        x, y = out[..., 0].copy(), out[..., 1].copy()
        out[..., 0], out[..., 1] = c * x - s * y, s * x + c * y
        out[..., 1] -= out[:, :17, 1].max(1, keepdims=True) + 0.04
        out[..., 0] -= out[:, :1, 0]
    return out * (person.height, person.height, 1.0)


_BITS = 4


def _fix(point: Sequence[float]) -> tuple[int, int]:
    return int(point[0] * 16), int(point[1] * 16)


def limb(img: np.ndarray, a, b, width: float, colour: Colour) -> None:
    a, b, w = _fix(a), _fix(b), max(1, round(width))
    cv2.line(img, a, b, shade(colour, 0.55), w + 2, cv2.LINE_AA, _BITS)
    cv2.line(img, a, b, colour, w, cv2.LINE_AA, _BITS)


def disc(img: np.ndarray, centre, radius: float, colour: Colour) -> None:
    cv2.circle(img, _fix(centre), max(1, int(radius * 16)), colour, -1, cv2.LINE_AA, _BITS)


def _arm(img, pts, first, person, size, dim) -> None:
    w = size * person.build
    sleeve, skin = shade(person.shirt, dim), shade(person.skin, dim)
    limb(img, pts[first + 1], pts[first + 2], 0.045 * w, skin if person.short_sleeves else sleeve)
    limb(img, pts[first], pts[first + 1], 0.06 * w, sleeve)
    disc(img, pts[first + 2], 0.03 * w, skin)


def _leg(img, pts, first, toe, person, size, dim) -> None:
    w = size * person.build
    cloth, skin = shade(person.trousers, dim), shade(person.skin, dim)
    limb(img, pts[first + 1], pts[first + 2], 0.062 * w, skin if person.shorts else cloth)
    limb(img, pts[first], pts[first + 1], 0.088 * w, cloth)
    limb(img, pts[first + 2], pts[toe], 0.046 * w, shade(person.shoes, dim))


def _trunk(img, pts, person, size) -> None:
    w = size * person.build
    neck, pelvis = pts[NECK], pts[PELVIS]
    limb(img, pts[R_HIP], pts[L_HIP], 0.1 * w, person.trousers)
    waist = 0.25 * neck + 0.75 * pelvis
    half = 0.4 * (pts[R_SHOULDER] - pts[L_SHOULDER])
    outline = np.array([pts[R_SHOULDER], pts[L_SHOULDER], waist - half, waist + half])
    hull = cv2.convexHull((outline * 16).astype(np.int32))
    edge = max(1, round(0.085 * w))
    cv2.polylines(img, [hull], True, shade(person.shirt, 0.55), edge + 2, cv2.LINE_AA, _BITS)
    cv2.polylines(img, [hull], True, person.shirt, edge, cv2.LINE_AA, _BITS)
    cv2.fillConvexPoly(img, hull, person.shirt, cv2.LINE_AA, _BITS)
    if person.pattern == "hoops":
        for k in (0.25, 0.5, 0.75):
            mid = neck + (waist - neck) * k
            stroke(img, mid - half, mid + half, 0.03 * size, person.accent)
    elif person.pattern == "bib":
        stroke(img, 0.7 * neck + 0.3 * waist, 0.4 * neck + 0.6 * waist, 0.09 * size, person.accent)
    elif person.pattern == "band":
        stroke(img, pts[R_SHOULDER], waist - half, 0.035 * size, person.accent)
    stroke(img, waist - half, waist + half, 0.02 * size, shade(person.trousers, 0.6))


def stroke(img, a, b, width, colour) -> None:
    cv2.line(img, _fix(a), _fix(b), colour, max(1, round(width)), cv2.LINE_AA, _BITS)


def _head(img, pts, person, size) -> None:
    radius = 0.074 * size * person.head
    head, up = pts[HEAD], pts[HEAD] - pts[NECK]
    up = up / (np.hypot(*up) + 1e-9)
    front = np.array([-up[1], up[0]])
    if front[0] < 0:
        front = -front
    if person.hair_style == "long":
        limb(img, head - 0.5 * radius * front, head - 0.6 * radius * front - 1.5 * radius * up,
              1.1 * radius, person.hair)
    limb(img, pts[NECK], head, 0.055 * size, shade(person.skin, 0.85))
    disc(img, head, radius + 1, shade(person.hair, 0.6))
    disc(img, head, radius, person.hair if person.hair_style != "cap" else person.accent)
    disc(img, head + radius * (0.3 * front - 0.28 * up), 0.76 * radius, person.skin)
    eye = head + radius * (0.42 * front - 0.05 * up)
    disc(img, eye + 0.26 * radius * front, 0.13 * radius, (40, 30, 30))
    disc(img, eye - 0.26 * radius * front, 0.13 * radius, (40, 30, 30))
    if person.hair_style == "bun":
        disc(img, head + radius * (0.75 * up - 0.6 * front), 0.45 * radius, person.hair)
    if person.hair_style == "cap":
        stroke(img, head + radius * 0.35 * up, head + radius * (1.25 * front + 0.3 * up),
                0.25 * radius, shade(person.accent, 0.7))


def draw_shadow(img: np.ndarray, centre, size: float, strength: float) -> None:
    """Darken an ellipse on the ground below the figure, in place."""
    x, y = float(centre[0]), float(centre[1])
    rx, ry = max(2, int(0.24 * size)), max(1, int(0.045 * size))
    x0, x1 = max(0, int(x) - rx - 1), min(img.shape[1], int(x) + rx + 2)
    y0, y1 = max(0, int(y) - ry - 1), min(img.shape[0], int(y) + ry + 2)
    if x1 <= x0 or y1 <= y0:
        return
    region = img[y0:y1, x0:x1]
    dark = region.copy()
    cv2.ellipse(dark, (int(x) - x0, int(y) - y0), (rx, ry), 0, 0, 360, (20, 20, 28), -1)
    cv2.addWeighted(dark, strength, region, 1 - strength, 0, dst=region)


def draw_figure(img: np.ndarray, points: np.ndarray, depth: np.ndarray, person: Person,
                size: float) -> None:
    """Draw one figure in place into an RGB picture ``(H, W, 3)`` uint8.

    `points` ``(18, 2)`` are pixel positions, `depth` ``(18,)`` their depths in body heights, `size`
    the body height in pixels. Far limbs are darker and hands behind the trunk hide behind it.
    """
    arms = ((L_SHOULDER, depth[L_HAND] > depth[NECK] + 0.02, 0.74, 0.85),
            (R_SHOULDER, depth[R_HAND] > depth[NECK] - 0.06, 0.9, 1.0))
    for shoulder, in_front, dim, _ in arms:
        if not in_front:
            _arm(img, points, shoulder, person, size, dim)
    _leg(img, points, L_HIP, L_TOE, person, size, 0.74)
    _leg(img, points, R_HIP, R_TOE, person, size, 1.0)
    _trunk(img, points, person, size)
    _head(img, points, person, size)
    for shoulder, in_front, _, dim in arms:
        if in_front:
            _arm(img, points, shoulder, person, size, dim)
