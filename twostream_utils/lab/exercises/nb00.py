"""The checker of notebook 00, which only shows what a checker does."""

import numpy as np

from .checking import ExerciseError, as_array, checker, compare, unchanged

__all__ = ["quantise"]


@checker("Clamped to ±20 px, rest in the middle, uint8.")
def quantise(answer):
    """``answer(flow float32, px per frame)`` → uint8: ±20 px clamped onto 0…255, rounded."""
    rows = [-50.0, -20.0, -7.3, -0.05], [0.0, 0.1, 13.37, 20.0], [20.1, 300.0, 3.0, -3.0]
    flow = np.array(rows, dtype=np.float32)
    scaled = 255 * (flow.astype(np.float64) + 20) / 40
    wanted = np.rint(np.clip(scaled, 0, 255))
    stretched = 255 * (flow - flow.min()) / (flow.max() - flow.min())
    slips = {
        "Large flow wraps around: clamp to ±20 px before the cast to uint8": [
            np.rint(scaled) % 256,
            np.floor(scaled) % 256,
        ],
        "Large flow lies outside 0…255: clamp to ±20 px first": np.rint(scaled),
        "Cut off instead of rounded: round, then cast to uint8": np.floor(np.clip(scaled, 0, 255)),
        "Stretched from its own minimum to its maximum: that loses the scale, so slow and fast "
        "motion look alike. Use the fixed ±20 px": [np.rint(stretched), np.floor(stretched)],
        "Quantised with 256 steps instead of 255": np.rint(np.clip(scaled * 256 / 255, 0, 255)),
    }
    with unchanged("The flow that came in was changed; return a new array", flow):
        result = as_array(answer(flow), "the quantised flow")
    difference = np.abs(result.astype(float) - wanted) if result.shape == wanted.shape else None
    at_half = np.isclose(scaled % 1, 0.5)  # rest is 127.5: 127 and 128 are both right there
    if difference is not None and (difference[at_half] <= 0.5 + 1e-6).all():
        wanted = np.where(at_half, result, wanted)
    compare(result, wanted, "the quantised flow", slips, tolerance=1e-3)
    if result.dtype != np.uint8:
        raise ExerciseError(f"The values are right, but the type is {result.dtype}, not uint8")
