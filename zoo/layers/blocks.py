"""Blocks that several papers share to the last parameter."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .backbone import token_grid
from .linear import Linear

Dates = tuple[Tensor, Tensor]  # tokens before and after, (B, N, D) each


def feed_forward(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """Linear, ReLU, dropout, linear."""
    return nn.Sequential(Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), Linear(hidden, dim))


def xavier(*parts: nn.Module) -> None:
    """Draw all matrices and kernels of ``parts`` as Glorot and Bengio 2010; vectors stay as they are."""
    for part in parts:
        for p in part.parameters():
            if p.ndim > 1:
                nn.init.xavier_uniform_(p)


def bottleneck(dim: int) -> nn.Sequential:
    """The branch of a ResNet bottleneck on maps ``(B, D, h, w)``: 1x1 to D/2, 3x3, 1x1 back, each normalised."""
    half = dim // 2
    return nn.Sequential(
        nn.Conv2d(dim, half, 1), nn.BatchNorm2d(half), nn.ReLU(),
        nn.Conv2d(half, half, 3, padding=1), nn.BatchNorm2d(half), nn.ReLU(),
        nn.Conv2d(half, dim, 1), nn.BatchNorm2d(dim),
    )  # fmt: skip


class CrossBlock(nn.Module):
    """One transformer block whose keys come from elsewhere.

    ``pre_norm`` normalises what enters a sub-layer in place of what leaves it (Xiong et al. 2020).
    """

    def __init__(self, dim: int, heads: int, dropout: float, pre_norm: bool = False) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(dim, heads, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed = feed_forward(dim, 4 * dim, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, query: Dates, memory: Dates) -> Dates:
        """The dates of ``query``, each after asking its date of ``memory``; both in one pass."""
        x = torch.cat(query)  # (2B, N, D)
        if self.pre_norm:
            x = x + self.drop(self.attention(self.norm1(x), torch.cat(memory)))
            a, b = (x + self.drop(self.feed(self.norm2(x)))).chunk(2)
            return a, b
        x = self.norm1(x + self.drop(self.attention(x, torch.cat(memory))))
        a, b = self.norm2(x + self.drop(self.feed(x))).chunk(2)
        return a, b


class Fusion(nn.Module):
    """One level of the multi-level fusion: a residual bottleneck on the grid, then LayerNorm over the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.left = bottleneck(dim)
        self.norm = nn.LayerNorm(dim)

    def compare(self) -> None:
        """Let the first convolution see the dates' difference: its weights after are those before, negated."""
        before, after = self.left.get_parameter("0.weight").data.chunk(2, dim=1)
        after.copy_(-before)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens ``(B, N, D)`` of a ``grid`` (h, w) to tokens ``(B, N, D)``."""
        x = x.transpose(1, 2).unflatten(2, grid)  # (B, D, h, w)
        fused: Tensor = self.norm(token_grid(F.relu(x + self.left(x))))
        return fused
