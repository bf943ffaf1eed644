"""The blur gap of pairs as ``bench_blur.py`` asks for it: grey images 0 to 255 in, a sigma of nought or more out."""

import numpy as np
import torch

from preprocess.sharpness import blur_gap

torch.set_num_threads(1)


def estimate(a: np.ndarray, b: np.ndarray) -> float:
    """Sigma of the Gaussian that ``b`` ``(H, W)`` is blurrier by; nought where ``a`` is the blurrier one."""
    x, y = (torch.from_numpy(v.copy())[None, None].expand(-1, 3, -1, -1) / 255 for v in (a, b))
    return max(0.0, blur_gap(x, y).sigma.item())
