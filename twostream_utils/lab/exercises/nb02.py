"""Checkers of notebook 02: Lucas–Kanade for every pixel, and flow in eight bits."""

import cv2
import numpy as np

from .checking import ExerciseError, as_array, checker, number_question, picture

__all__ = ["lucas_kanade", "mixed_bounds", "picture"]


def _texture(seed: int) -> np.ndarray:
    """A smooth random picture, 64 × 80, that changes by some grey levels a pixel."""
    noise = np.random.default_rng(seed).normal(0, 1, (64, 80)).astype(np.float32)
    smooth = cv2.GaussianBlur(np.pad(noise, 16, mode="wrap"), (0, 0), 3)[16:-16, 16:-16]
    return 128 + 40 * smooth / smooth.std()


def _moved(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """The picture moved by a fraction of a pixel, exactly: by its Fourier transform."""
    rows, columns = np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])
    turned = np.fft.fft2(image) * np.exp(-2j * np.pi * (u * columns + v * rows))
    return np.fft.ifft2(turned).real.astype(np.float32)


@checker("Right for every pixel, in fractions of a pixel, and quiet where nothing can be known.")
def lucas_kanade(answer):
    """``answer(before (H, W), after (H, W))`` → flow ``(H, W, 2)`` for small motions."""

    def flow_of(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        flow = as_array(answer(before.copy(), after.copy()), "the flow")
        if flow.shape != (*before.shape, 2):
            raise ExerciseError(f"the flow has shape {flow.shape}, expected {(*before.shape, 2)}")
        return flow.astype(np.float64)

    image, true = _texture(0), np.array([0.6, -0.3])
    flow = flow_of(image, _moved(image, *true))
    if not np.isfinite(flow).all():
        raise ExerciseError(
            "There are nan or inf in the flow. Where the determinant is (nearly) 0, answer 0"
        )
    found = np.median(flow[12:-12, 12:-12], axis=(0, 1))
    slips = {
        "The sign is the other way round: I_x u + I_y v = −I_t": -true,
        "u and v are swapped: u is to the right (along the columns) and comes first. np.gradient "
        "gives the gradient along the rows first": true[::-1],
        "u and v are swapped, and the sign is the other way round": -true[::-1],
        "Half of the motion: are the gradients those of a doubled image?": true / 2,
        "Twice the motion: np.gradient divides by 2 already": true * 2,
        "0 everywhere: one pixel alone has determinant 0, so average over the patch": 0 * true,
    }
    if np.abs(found - true).max() > 0.1:
        for slip, wrong in slips.items():
            if np.abs(found - wrong).max() < 0.07:
                raise ExerciseError(slip)
        raise ExerciseError(
            f"A picture that moves by (0.6, −0.3) px gets ({found[0]:.2f}, {found[1]:.2f}) in the "
            "median"
        )
    if np.quantile(np.abs(flow - true)[12:-12, 12:-12], 0.9) > 0.2:
        raise ExerciseError(
            "Right in the median, but far off at many pixels: is each of the five products "
            "averaged over the patch around the pixel?"
        )
    halves = np.concatenate([_moved(image, 0.5, 0)[:, :40], _moved(image, -0.5, 0)[:, 40:]], axis=1)
    left, right = (np.median(flow_of(image, halves)[12:-12, part, 0])
                   for part in (slice(8, 28), slice(52, 72)))  # fmt: skip
    if abs(left - right) < 0.5:
        raise ExerciseError(
            "The left half moves right and the right half left, and your answer says "
            f"{left:+.2f} and {right:+.2f} px: sum over the patch around each pixel, not over the "
            "whole image"
        )
    wall = flow_of(np.full((40, 40), 90.0, np.float32), np.full((40, 40), 90.0, np.float32))
    if not np.isfinite(wall).all():
        raise ExerciseError("A plain wall gives nan or inf; where nothing is known, answer 0")
    ramp = np.tile(np.linspace(0, 200, 40, dtype=np.float32), (40, 1))  # no gradient downwards
    if not np.isfinite(edge := flow_of(ramp, ramp - 1)).all() or np.abs(edge).max() > 1e3:
        raise ExerciseError("A straight edge gives nan or enormous numbers; answer 0 there")
    whole = (image.round().astype(np.uint8), _moved(image, 0.6, -0.3).round().astype(np.uint8))
    if np.abs(np.median(flow_of(*whole)[12:-12, 12:-12], axis=(0, 1)) - true).max() > 0.15:
        raise ExerciseError(
            "Wrong for uint8 images: after − before wraps around below 0. Make both float first"
        )


mixed_bounds = number_question(
    "Four times as fast, and nothing would warn you.",
    right=153 * 40 / 255 - 20,
    tolerance=0.1,
    slips={
        "That would need both to use one bound. Written: 255 · (1 + 5) / 10 = 153. Read: ±20": 1.0,
        "The other way round: it is written with ±5 px and read with ±20 px": 0.25,
        "That is the stored level; read it back with ±20 px": 153.0,
        "The middle is not taken off: level 153 read with ±20 px is 153 · 40 / 255 − 20": 24.0,
    },
)
