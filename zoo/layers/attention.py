"""Multi-head attention, the only place that calls ``scaled_dot_product_attention``."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear, linear

KeyValue = tuple[Tensor, Tensor]  # keys and values, (B, heads, N, D / heads) each


def look(q: Tensor, k: Tensor, v: Tensor, heads: int, dropout: float = 0.0) -> Tensor:
    """What queries ``(B, M, A)`` see of values ``(B, N, A)`` whose keys they match, in ``heads`` parts of the width."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # (B, heads, M or N, A / heads)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention with biases; the three input projections are one packed matrix ``(3D, D)``."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got dim={dim}, heads={heads}")
        self.heads, self.dropout = heads, dropout
        self.watched: list[Tensor] | None = None  # where looks at a memory are kept, see :func:`watch`
        self.project = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)
        for part in self.project.weight.data.chunk(3):  # each for itself: as one matrix they would start smaller
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(self.project.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Let ``query`` ``(B·K, M, D)`` look at ``memory`` ``(B, N, D)``: K queries share a row, unrepeated.

        One new word per sentence (M = 1, not in training) looks at the memory itself; its keys and values are never
        computed. ``q·(W m) = (W' q)·m``, the keys' bias shifts all scores alike, and the weights sum to 1, so that the
        values' projection can follow the sum (the absorption of DeepSeek-V2, arXiv 2405.04434, section 2.1.2). That
        is less work until a pair is asked N·D / (D + heads·N) times, about 80 at the published sizes, and reads half
        as much memory.
        """
        dim = query.shape[-1]
        q = linear(query, self.project.weight[:dim], self.project.bias[:dim])
        q = q.reshape(memory.shape[0], -1, dim)  # (B, K·M, D)
        if self.watched is not None:
            self.watched.append(self._weights(q, memory).reshape(*query.shape[:2], -1))
        if query.shape[1] == 1 and not self.training:
            return self._look_unprojected(q, memory).reshape(query.shape)
        k, v = linear(memory, self.project.weight[dim:], self.project.bias[dim:]).chunk(2, dim=-1)
        seen: Tensor = self.out(look(q, k, v, self.heads, self._rate()))
        return seen.reshape(query.shape)

    def causal(self, x: Tensor, past: KeyValue | None = None) -> tuple[Tensor, KeyValue]:
        """Self-attention of ``x`` ``(B, T, D)`` that never looks ahead, after ``past``; returns the longer past too."""
        q, k, v = (self._split(part) for part in self.project(x).chunk(3, dim=-1))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        new, all_ = q.shape[2], k.shape[2]
        # the new words see everything before them; with one new word there is nothing to hide
        mask = None if new == 1 else torch.ones(new, all_, dtype=torch.bool, device=x.device).tril(all_ - new)
        return self._out(F.scaled_dot_product_attention(q, k, v, mask, self._rate())), (k, v)

    def _look_unprojected(self, q: Tensor, memory: Tensor) -> Tensor:
        """What queries ``(B, K, D)`` see in ``memory`` ``(B, N, D)`` where it is neither key nor value yet."""
        pairs, dim = memory.shape[0], memory.shape[2]
        to_key, to_value = self.project.weight[dim:].view(2, self.heads, -1, dim)  # (heads, D / heads, D) each
        per_head = q.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # (heads, B·K, D / heads)
        asked = (per_head @ to_key).unflatten(1, (pairs, -1)).permute(1, 2, 0, 3)  # (B, K, heads, D)
        # one product per sentence, not one per pair: of 16 rows and more MKL's takes up to four times as long
        memory = memory.unsqueeze(1).expand(-1, asked.shape[1], -1, -1)
        seen = F.scaled_dot_product_attention(asked, memory, memory, scale=(dim // self.heads) ** -0.5)
        seen = seen.flatten(0, 1).transpose(0, 1)  # (heads, B·K, D)
        v = (seen @ to_value.transpose(1, 2)).transpose(0, 1).flatten(1)  # (B·K, D)
        out: Tensor = self.out(v + self.project.bias[2 * dim :])
        return out

    def _weights(self, q: Tensor, memory: Tensor) -> Tensor:
        """How much each of ``q`` ``(B, M, D)`` looks at each of ``memory`` ``(B, N, D)``, mean of the heads."""
        dim = q.shape[-1]
        k = linear(memory, self.project.weight[dim : 2 * dim], self.project.bias[dim : 2 * dim])
        scores = self._split(q) @ self._split(k).transpose(2, 3) * (dim // self.heads) ** -0.5
        return scores.softmax(-1).mean(1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, D / heads)

    def _out(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return out

    def _rate(self) -> float:
        return self.dropout if self.training else 0.0


@contextmanager
def watch(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within, collect where every look at a memory in ``model`` goes: ``(B·K, M, N)`` each, mean of the heads."""
    looks: list[Tensor] = []
    attentions = [m for m in model.modules() if isinstance(m, Attention)]
    for attention in attentions:
        attention.watched = looks
    try:
        yield looks
    finally:
        for attention in attentions:
            attention.watched = None
