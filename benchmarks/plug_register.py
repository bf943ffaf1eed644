"""This project's registration as a plug of a registration benchmark: arrays in, matrices and confidences out."""

import numpy as np
import torch

import preprocess

BATCH = 16  # pairs at once


def estimate(
    a: list[np.ndarray], b: list[np.ndarray], profile: str = "accurate"
) -> tuple[list[np.ndarray], list[float]]:
    """The 3x3 matrices from pixels of ``a`` to those of ``b``, uint8 ``(H, W, 3)``, and their confidences."""
    matrices, confidences = [], []
    for start in range(0, len(a), BATCH):
        images = (torch.from_numpy(np.stack(x[start : start + BATCH])).float().div_(255) for x in (a, b))
        found = preprocess.register(*(x.permute(0, 3, 1, 2) for x in images), profile=profile)
        matrices += list(found.matrix.double().numpy())
        confidences += found.confidence.tolist()
    return matrices, confidences


def estimate_fast(a: list[np.ndarray], b: list[np.ndarray]) -> tuple[list[np.ndarray], list[float]]:
    """The same by the fast profile."""
    return estimate(a, b, "fast")


def accurate(a: np.ndarray, b: np.ndarray, profile: str = "accurate") -> tuple[np.ndarray, float]:
    """Matrix and confidence of one pair."""
    matrices, confidences = estimate([a], [b], profile)
    return matrices[0], confidences[0]


def fast(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Matrix and confidence of one pair, by the fast profile."""
    return accurate(a, b, "fast")
