"""Positions of words in a sentence and of tokens on a grid."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoid(length: int, dim: int) -> Tensor:
    """The fixed table ``(length, dim)`` of Vaswani et al. 2017, section 3.5: sine on even channels, cosine on odd."""
    place = torch.arange(length).unsqueeze(1)
    angle = place * torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :dim]


class GridPosition(nn.Module):
    """Learned column and row tables, half the channels each; other grids read them by linear interpolation."""

    def __init__(self, dim: int, height: int, width: int) -> None:
        super().__init__()
        self.columns = nn.Parameter(torch.randn(width, dim // 2))
        self.rows = nn.Parameter(torch.randn(height, dim - dim // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Position codes ``(D, height, width)``: the column's first, then the row's."""
        columns, rows = _stretch(self.columns, width), _stretch(self.rows, height)
        return torch.cat(
            [columns.T.unsqueeze(1).expand(-1, height, -1), rows.T.unsqueeze(2).expand(-1, -1, width)]
        )  # (D, h, w)


class FirstPositions(GridPosition):
    """Tables that are read from the first row on and not interpolated, as some authors do."""

    def forward(self, height: int, width: int) -> Tensor:
        """Position codes ``(D, height, width)``.

        Raises:
            ValueError: the grid is larger than the tables.
        """
        rows, columns = len(self.rows), len(self.columns)
        if height > rows or width > columns:
            raise ValueError(
                f"released=True has positions for {rows} rows and {columns} columns, got a grid of {height} x {width}: "
                "give smaller images, or tables as large as those that the weights were trained with"
            )
        return super().forward(rows, columns)[:, :height, :width]


def _stretch(table: Tensor, length: int) -> Tensor:
    """Interpolate ``table`` ``(n, D)`` linearly to ``length`` rows."""
    if table.shape[0] == length:
        return table
    return F.interpolate(table.T.unsqueeze(0), size=length, mode="linear", align_corners=False)[0].T
