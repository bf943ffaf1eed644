"""The linear layer of the captioners: one way to multiply for many rows, another for the few of a word loop."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 8, 128  # rows between which the product by columns is the faster one


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x`` ``(..., D)`` times ``weight`` ``(E, D)`` plus ``bias`` ``(E,)``, ``(..., E)``.

    On a CPU a product whose left side has few rows spends its time on arranging the large right side. The new words of
    a batch are such rows, so without a gradient ``weight`` is taken from the left: 1.1 to 2 times as fast.
    """
    rows = x.numel() // x.shape[-1]
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if torch.is_grad_enabled() or not plain or not FEW[0] <= rows <= FEW[1]:
        return F.linear(x, weight, bias)
    y = (weight @ x.reshape(rows, -1).t().contiguous()).t()
    return (y if bias is None else y + bias).unflatten(0, x.shape[:-1])


class Linear(nn.Linear):
    """``torch.nn.Linear`` by :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """``(..., D)`` to ``(..., E)``."""
        return linear(input, self.weight, self.bias)
