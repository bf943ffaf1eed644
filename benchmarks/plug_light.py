"""The light of pairs as ``bench_photometric.py`` asks for it: ``b`` in the light of ``a``, uint8."""

import numpy as np
import torch

from preprocess.illumination import illuminate

torch.set_num_threads(1)


def normalise(a: np.ndarray, b: np.ndarray, label: object = None) -> np.ndarray:
    """``b`` ``(H, W, 3)`` in the light of ``a``, both uint8; the label is not looked at."""
    x, y = (torch.from_numpy(v.copy()).permute(2, 0, 1)[None] / 255 for v in (a, b))
    return (illuminate(x, y).b[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
