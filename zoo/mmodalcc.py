"""MModalCC: "Robust Change Captioning in Remote Sensing: SECOND-CC Dataset and MModalCC Framework".

IEEE JSTARS 2025, doi 10.1109/JSTARS.2025.3600613, arXiv 2501.10075. Two backbones see the images and the land-cover
maps of both dates. In every encoder layer each stream asks the other modality of its own date (Cross-Modal Cross
Attention, CMCA) and then the difference of the two dates of its own modality. The layers' outputs are fused level by
level into one memory per modality, and the decoder weighs both memories and the words so far with learned gates
(Multimodal Gated Cross Attention, MGCA).

Ours beside the paper: maps enter as one plane per class, not as colours; a missing modality is one learned embedding
on every grid position; the fusion starts as a comparison of the dates, without which a captioner that is trained from
nothing on images alone tells what has changed, but not where.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .captioner import Captioner, Memory, State
from .layers.attention import Attention, KeyValue
from .layers.backbone import Backbone, token_grid
from .layers.blocks import CrossBlock, Dates, Fusion, feed_forward, xavier
from .layers.linear import Linear
from .layers.pair_input import INPUTS, need_maps, planes
from .layers.position import GridPosition
from .layers.word_decoder import WordDecoder

# The authors' semantic images: the SECOND palette with white (no change) painted black.
PALETTE = ((0, 0, 0), (0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (128, 0, 0), (255, 0, 0))


class MModalCC(Captioner):
    """The MModalCC captioner; the signature holds the published values.

    Args:
        vocab: number of words V.
        inputs: ``"rgb"``, ``"maps"`` or ``"both"``; the modality left out is replaced by a learned embedding.
        backbone: keyword arguments of :class:`zoo.layers.backbone.Backbone`, used for both modalities.
        image_size: side in pixels of the images the position tables are made for; other grids interpolate them.
        classes: number S of land-cover classes, the unlabelled one included.
        dim: width d of the encoder; the decoder's is 2d.
        layers, decoder_layers, heads, dropout: as published.
        decoder_heads: of the decoder; as many as the encoder's when not given.
        max_words: longest sentence, start and end counted.
        pre_norm: normalise what enters a sub-layer, not what leaves it as in the paper, and let the gates of both
            memories start open; it learns in fewer steps (Xiong et al. 2020).
        released: as the authors' code runs, which their weights depend on (numbers of the quirk list in brackets):
            images are not normalised [1], layers run in parallel on the projected inputs [2], one block serves all
            eight crossings of a layer and one attention both memories of a decoder layer [3], both modalities share
            the fusion blocks and their BatchNorm [4], the grid is pooled to 14 x 14 [5], word embeddings are not
            scaled and drop at 0.1 [7], maps enter as colours with black for unchanged [8].
    """

    def __init__(
        self,
        vocab: int,
        *,
        inputs: str = "both",
        backbone: Mapping[str, Any] | None = None,
        image_size: int = 256,
        classes: int = 7,
        dim: int = 512,
        layers: int = 2,
        decoder_layers: int = 1,
        heads: int = 8,
        decoder_heads: int | None = None,
        dropout: float = 0.5,
        max_words: int = 128,
        pre_norm: bool = False,
        released: bool = False,
    ) -> None:
        super().__init__()
        if inputs not in INPUTS:
            raise ValueError(f"inputs must be 'rgb', 'maps' or 'both', got {inputs!r}")
        if released and pre_norm:
            raise ValueError("released=True is the authors' code, which normalises after: leave out pre_norm")
        if released and classes > len(PALETTE):
            raise ValueError(f"released=True paints maps with {len(PALETTE)} colours, got classes={classes}")
        self.inputs, self.max_words = inputs, max_words
        self.classes, self.released = classes, released
        trunk: dict[str, Any] = {"name": "resnet101", "stride": 16} | (
            {"normalise": "none", "pool": 14} if released else {}
        )
        trunk |= backbone or {}
        sees = {"rgb": inputs != "maps", "sem": inputs != "rgb"}
        depth = {"rgb": 3, "sem": 3 if released else classes}
        backbones: dict[str, Backbone] = {}
        self.projections, self.absent = nn.ModuleDict(), nn.ParameterDict()
        for kind, seen in sees.items():
            if seen:
                plain = {} if kind == "rgb" else {"normalise": "none"}  # classes have no brightness to normalise
                backbones[kind] = Backbone(in_chans=depth[kind], **trunk | plain)
                self.projections[kind] = nn.Conv2d(backbones[kind].channels, dim, 1)
            else:
                self.absent[kind] = nn.Parameter(torch.randn(dim, 1, 1) * 0.02)
        self.backbones = nn.ModuleDict(backbones)
        side = next(iter(backbones.values())).grid(image_size)
        self.position = GridPosition(dim, side, side)
        self.layers = nn.ModuleList(CrossLayer(dim, heads, dropout, released, pre_norm) for _ in range(layers))
        self.fusions = nn.ModuleList(
            nn.ModuleList(Fusion(2 * dim) for _ in range(layers)) for _ in range(1 if released else 2)
        )
        xavier(self.projections, self.layers, self.fusions)
        for fusion in self.fusions.modules():
            if isinstance(fusion, Fusion):
                fusion.compare()
        self.words = WordDecoder(
            vocab,
            2 * dim,
            [GatedLayer(2 * dim, decoder_heads or heads, dropout, released, pre_norm) for _ in range(decoder_layers)],
            dropout=dropout,
            embedding_dropout=0.1 if released else dropout,
            scale=not released,
            norm=pre_norm,
            max_words=max_words,
        )

    def encode(self, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None) -> Memory:
        """Two memories ``(B, N, 2d)``, of the images and of the maps; see :meth:`Captioner.encode`."""
        need_maps(self.inputs, sem_a, sem_b)
        seen = {}
        if self.inputs != "maps":
            seen["rgb"] = self._see("rgb", a, b)
        if sem_a is not None and sem_b is not None and self.inputs != "rgb":
            seen["sem"] = self._see("sem", self._paint(sem_a), self._paint(sem_b))
        shape = next(iter(seen.values())).shape
        grid = shape[-2:]
        for kind, embedding in self.absent.items():
            seen[kind] = embedding.expand(shape)
        position = self.position(*grid)  # (d, h, w)
        rgb, sem = (token_grid(seen[kind] + position).chunk(2) for kind in ("rgb", "sem"))  # (B, N, d) each date
        inputs = rgb, sem
        memory: list[Tensor | float] = [0.0, 0.0]
        for i, layer in enumerate(self.layers):
            rgb, sem = layer(*(inputs if self.released else (rgb, sem)))
            for m, (stream, levels) in enumerate(zip((rgb, sem), _all(self.fusions, 2), strict=True)):
                memory[m] = levels[i](memory[m] + torch.cat(stream, dim=2), grid)  # (B, N, 2d)
        return tuple(m for m in memory if isinstance(m, Tensor))

    def decode(self, words: Tensor, memory: Memory, state: State | None = None) -> tuple[Tensor, State]:
        """Logits ``(B·K, T, V)`` of the next words; see :meth:`Captioner.decode`."""
        logits, state = self.words(words, memory, state)
        return logits, state

    def _see(self, kind: str, a: Tensor, b: Tensor) -> Tensor:
        """Both dates through one backbone and projection ``(2B, d, h, w)``; together, so they share statistics."""
        seen: Tensor = self.projections[kind](self.backbones[kind](torch.cat([a, b])))
        return seen

    def _paint(self, sem: Tensor) -> Tensor:
        """Classes ``(B, H, W)`` to planes ``(B, S, H, W)``, or to the authors' colours ``(B, 3, H, W)`` in [0, 1]."""
        if any(b.features for b in self.backbones.values()):
            return sem
        if self.released:
            return torch.tensor(PALETTE, device=sem.device)[sem.long()].permute(0, 3, 1, 2) / 255
        return planes(sem, self.classes)


class CrossLayer(nn.Module):
    """CMCA, then difference attention, for both modalities and both dates."""

    def __init__(self, dim: int, heads: int, dropout: float, shared: bool, pre_norm: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CrossBlock(dim, heads, dropout, pre_norm) for _ in range(1 if shared else 4))

    def forward(self, rgb: Dates, sem: Dates) -> tuple[Dates, Dates]:
        """Both streams one layer further."""
        cross_rgb, cross_sem, differ_rgb, differ_sem = _all(self.blocks, 4)
        change_rgb, change_sem = rgb[1] - rgb[0], sem[1] - sem[0]
        rgb, sem = cross_rgb(rgb, sem), cross_sem(sem, rgb)  # CMCA: ask the other modality of the same date
        return differ_rgb(rgb, (change_rgb,) * 2), differ_sem(sem, (change_sem,) * 2)


class GatedLayer(nn.Module):
    """MGCA: words look at both memories, and gates weigh what they saw against what they were."""

    def __init__(self, dim: int, heads: int, dropout: float, shared: bool, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attention = Attention(dim, heads, dropout)
        self.cross = nn.ModuleList(Attention(dim, heads, dropout) for _ in range(1 if shared else 2))
        self.gate_rgb, self.gate_sem = Linear(2 * dim, dim), Linear(2 * dim, dim)
        self.gate_words = Linear(dim, dim)
        if pre_norm:  # the residual carries the words already
            for gate, bias in ((self.gate_rgb, 2.0), (self.gate_sem, 2.0), (self.gate_words, -2.0)):
                nn.init.constant_(gate.bias, bias)
        self.feed = feed_forward(dim, 4 * dim, dropout)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Memory, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """New features of the new words ``(B·K, T, D)``, and the past grown by them."""
        look_rgb, look_sem = _all(self.cross, 2)
        before, past = self.self_attention.causal(self.norm1(x) if self.pre_norm else x, past)
        x = x + self.drop(before)
        s = self.norm2(x) if self.pre_norm else self.norm1(x)
        rgb = self.drop(look_rgb(s, memory[0]))
        sem = self.drop(look_sem(s, memory[1]))
        w_rgb = self.gate_rgb(torch.cat([s, rgb], dim=-1)).sigmoid()
        w_sem = self.gate_sem(torch.cat([s, sem], dim=-1)).sigmoid()
        v = rgb * w_rgb + sem * w_sem + s * self.gate_words(s).sigmoid()
        if self.pre_norm:
            x = x + v
            return x + self.drop(self.feed(self.norm3(x))), past
        v = self.norm2(v)
        return self.norm3(v + self.drop(self.feed(v))), past


def _all(parts: nn.ModuleList, count: int) -> list[Any]:
    """``count`` modules out of ``parts``, one shared by all uses where there is only one."""
    return list(parts) * (count // len(parts))
