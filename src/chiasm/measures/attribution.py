"""Numbers about attribution maps: how much of them lies on an object, and whether their order is that of importance.

Legend: n image tokens, c counts of tokens.
"""

import numpy as np
from jaxtyping import Bool, Float


def energy(tokens: Float[np.ndarray, " n"], inside: Bool[np.ndarray, " n"]) -> float | None:
    """The share of positive attribution that lies inside; None where none is positive. By chance: the share of tokens.

    Source: the energy-based pointing game of Wang et al. 2020 (Score-CAM), equation 5.
    """
    positive = np.clip(tokens, 0, None)
    whole = float(positive.sum())
    return float(positive[inside].sum()) / whole if whole > 0 else None


def area_under(curve: Float[np.ndarray, "*k c"], shares: Float[np.ndarray, " c"]) -> Float[np.ndarray, "*k"]:
    """The area under curves over shares of tokens from 0 to 1, by the trapezium rule."""
    return np.trapezoid(curve, shares, axis=-1)
