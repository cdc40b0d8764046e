"""Logits -> probabilities -> probabilities by another temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities (N, C) of logits (N, C)."""
    values = np.asarray(logits, np.float64)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def apply_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """softmax(logits / temperature), from the probabilities (N, C) themselves (clipped at 1e-12).

    A temperature above 1 makes the probabilities less extreme; the most probable class stays the same.
    """
    return softmax(np.log(np.maximum(probabilities, 1e-12)) / temperature)
