"""Multi-head attention, the only place that calls ``scaled_dot_product_attention``."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeyValue = tuple[Tensor, Tensor]  # keys and values, (B, heads, N, D / heads) each


class Attention(nn.Module):
    """Multi-head attention with biases; the three input projections are one packed matrix ``(3D, D)``."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got dim={dim}, heads={heads}")
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        for part in self.project.weight.data.chunk(3):  # each for itself: as one matrix they would start smaller
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(self.project.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Let each of ``query`` ``(B, M, D)`` look at all of ``memory`` ``(B, N, D)``; returns ``(B, M, D)``."""
        return self.look(query, self.keys_values(memory))

    def keys_values(self, memory: Tensor) -> KeyValue:
        """Keys and values of ``memory`` ``(B, N, D)``, to be used again and again."""
        dim = memory.shape[-1]
        k, v = F.linear(memory, self.project.weight[dim:], self.project.bias[dim:]).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def look(self, query: Tensor, memory: KeyValue) -> Tensor:
        """Attend from ``query`` ``(B·K, M, D)`` to keys and values of B rows: K queries share a row, unrepeated."""
        dim = query.shape[-1]
        q = F.linear(query, self.project.weight[:dim], self.project.bias[:dim])
        q = q.reshape(memory[0].shape[0], -1, dim)  # (B, K·M, D)
        return self._attend(q, memory).reshape(query.shape)

    def causal(self, x: Tensor, past: KeyValue | None = None) -> tuple[Tensor, KeyValue]:
        """Self-attention of ``x`` ``(B, T, D)`` that never looks ahead, after ``past``; returns the longer past too."""
        q, k, v = (self._split(part) for part in self.project(x).chunk(3, dim=-1))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        new, all_ = q.shape[2], k.shape[2]
        # the new words see everything before them; with one new word there is nothing to hide
        mask = None if new == 1 else torch.ones(new, all_, dtype=torch.bool, device=x.device).tril(all_ - new)
        return self._out(F.scaled_dot_product_attention(q, k, v, mask, self._rate())), (k, v)

    def _attend(self, q: Tensor, memory: KeyValue) -> Tensor:
        return self._out(F.scaled_dot_product_attention(self._split(q), *memory, dropout_p=self._rate()))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, D / heads)

    def _out(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return out

    def _rate(self) -> float:
        return self.dropout if self.training else 0.0
