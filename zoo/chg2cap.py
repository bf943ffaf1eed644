"""Chg2Cap: "Changes to Captions: An Attentive Network for Remote Sensing Change Captioning".

IEEE TIP 2023, doi 10.1109/TIP.2023.3328224, arXiv 2304.01091. One backbone sees the images of both dates. In every
layer of the attentive encoder each date attends to itself, then both, side by side in the channels, attend to
themselves as one (hierarchical self-attention, HSA). Both dates and their cosine similarity are fused by a 1x1
convolution and a residual block into one memory, to which a transformer decoder adds the words so far once more.

Ours beside the paper: the similarity is a channel of its own, not a number added to all channels; word embeddings are
as large as their position code; the encoder starts by treating both dates alike and the fusion as their comparison,
without which a captioner that is trained from nothing on images alone learns slowly. A layer that normalises its
input (``pre_norm``) has the paper's residuals within; they are not added twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .captioner import Captioner, Memory, State
from .layers.attention import KeyValue, look
from .layers.backbone import token_grid
from .layers.blocks import Dates, bottleneck, feed_forward, xavier
from .layers.pair_input import PairBackbone
from .layers.position import FirstPositions, GridPosition
from .layers.word_decoder import DecoderLayer, WordDecoder

# Mean and deviation of LEVIR-CC's pixels (0 to 255), by which the authors normalise.
LEVIR_CC = ((100.6790, 99.5023, 84.9932), (50.9820, 48.4838, 44.7057))


class Chg2Cap(Captioner):
    """The Chg2Cap captioner; the signature holds the published values.

    Args:
        vocab: number of words V.
        inputs: ``"rgb"``, ``"maps"`` or ``"both"``, see :class:`zoo.layers.pair_input.PairBackbone`.
        backbone: keyword arguments of :class:`zoo.layers.backbone.Backbone`; its width C is the encoder's.
        image_size: side in pixels of the images the position tables are made for; other grids interpolate them.
        classes: number S of land-cover classes, the unlabelled one included.
        dim: width D of the memory and the decoder.
        layers, decoder_layers, heads, dropout: as published.
        decoder_heads: of the decoder; as many as the encoder's when not given.
        attention_dim: width of the encoder's queries, keys and values; ``dim`` when not given.
        hidden_dim: width of the encoder's feed-forward layers; a quarter of ``dim`` when not given.
        max_words: longest sentence, start and end counted; published per data set, 41 for LEVIR-CC and 27 for Dubai-CC.
        pre_norm: normalise what enters a sub-layer, not what leaves it as in the paper; it learns in fewer steps
            (Xiong et al. 2020).
        feature_size: with ``released`` only, rows of the authors' position tables for columns and for rows.
        released: as the authors' code runs, which their weights depend on (numbers of the quirk list in brackets): the
            encoder's values are its keys [1], its maps leave it transposed [3], the similarity is added to all
            channels [5], a grid takes the first rows of position tables that are larger [6], word embeddings are not
            scaled and drop at 0.1 [8], images are normalised by LEVIR-CC's statistics [13]. Theirs alone remain: the
            BatchNorm of frozen layers that moves in training [7], and the padding word that is hidden once said.
    """

    def __init__(
        self,
        vocab: int,
        *,
        inputs: str = "rgb",
        backbone: Mapping[str, Any] | None = None,
        image_size: int = 256,
        classes: int = 7,
        dim: int = 2048,
        layers: int = 3,
        decoder_layers: int = 1,
        heads: int = 8,
        decoder_heads: int | None = None,
        dropout: float = 0.1,
        attention_dim: int | None = None,
        hidden_dim: int | None = None,
        max_words: int = 128,
        pre_norm: bool = False,
        feature_size: Sequence[int] = (16, 16),
        released: bool = False,
    ) -> None:
        super().__init__()
        if released and pre_norm:
            raise ValueError("released=True is the authors' code, which normalises after: leave out pre_norm")
        self.inputs, self.max_words, self.released = inputs, max_words, released
        self.backbone = PairBackbone(inputs, {"name": "resnet101", "stride": 32} | dict(backbone or {}), classes)
        if released and inputs != "maps" and not self.backbone.first.features:
            for kept, published in zip((self.backbone.first.mean, self.backbone.first.std), LEVIR_CC, strict=True):
                kept.copy_(torch.tensor(published).view_as(kept) / 255)
        channels, side = self.backbone.channels, self.backbone.grid(image_size)
        width, hidden = attention_dim or dim, hidden_dim or dim // 4
        block = partial(
            SelfBlock, width=width, hidden=hidden, heads=heads, dropout=dropout, pre_norm=pre_norm, released=released
        )
        stack = [HierarchicalLayer(block(channels), block(2 * channels), pre_norm) for _ in range(layers)]
        columns, rows = feature_size if released else (side, side)
        position = (FirstPositions if released else GridPosition)(channels, rows, columns)
        self.encoder = AttentiveEncoder(position, stack, nn.LayerNorm(channels) if pre_norm else nn.Identity())
        self.fusion = CosineFusion(channels, dim, released)
        if not released:
            for layer in stack:
                layer.joint.treat_alike()
            self.fusion.compare()
        self.words = WordDecoder(
            vocab,
            dim,
            [ResidualLayer(dim, decoder_heads or heads, dropout, pre_norm=pre_norm) for _ in range(decoder_layers)],
            dropout=dropout,
            embedding_dropout=0.1 if released else dropout,
            scale=not released,
            norm=pre_norm,
            max_words=max_words,
        )

    def encode(self, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None) -> Memory:
        """One memory ``(B, N, D)``; see :meth:`Captioner.encode`.

        Raises:
            ValueError: a map is missing, or ``released`` and the grid is larger than the position tables.
        """
        before, after = self.encoder(*self.backbone(a, b, sem_a, sem_b))
        if self.released:  # rows and columns change places, as do those of the 3x3 kernels
            return (token_grid(self.fusion(before.mT, after.mT).mT),)
        return (token_grid(self.fusion(before, after)),)

    def decode(self, words: Tensor, memory: Memory, state: State | None = None) -> tuple[Tensor, State]:
        """Logits ``(B·K, T, V)`` of the next words; see :meth:`Captioner.decode`."""
        logits, state = self.words(words, memory, state)
        return logits, state


class AttentiveEncoder(nn.Module):
    """Maps of both dates ``(B, C, h, w)`` to as large maps of what matters in them."""

    def __init__(self, position: GridPosition, layers: Iterable[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.position, self.layers, self.norm = position, nn.ModuleList(layers), norm
        xavier(self.position)

    def forward(self, a: Tensor, b: Tensor) -> Dates:
        """Both dates after all layers."""
        grid = a.shape[-2:]
        start = x = token_grid(torch.cat([a, b]) + self.position(*grid))  # (2B, N, C)
        for layer in self.layers:
            x = layer(x, start)
        a, b = self.norm(x).transpose(1, 2).unflatten(2, grid).chunk(2)  # (B, C, h, w)
        return a, b


class HierarchicalLayer(nn.Module):
    """HSA: each date attends to itself, then both, side by side in the channels, attend to themselves as one."""

    def __init__(self, alone: "SelfBlock", joint: "SelfBlock", pre_norm: bool) -> None:
        super().__init__()
        self.alone, self.joint, self.pre_norm = alone, joint, pre_norm

    def forward(self, x: Tensor, start: Tensor) -> Tensor:
        """Tokens ``(2B, N, C)``, all dates before and then all after, one layer on from those that ``start``ed."""
        alone = self.alone(x)
        x = alone if self.pre_norm else alone + x
        joint = self.joint(torch.cat(x.chunk(2), dim=2))  # (B, N, 2C)
        x = torch.cat(joint.chunk(2, dim=2))
        return x if self.pre_norm else x + start


class SelfBlock(nn.Module):
    """A transformer block whose queries, keys and values are of any width and have no biases."""

    def __init__(
        self, dim: int, width: int, hidden: int, heads: int, dropout: float, pre_norm: bool, released: bool
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention_dim must be a multiple of heads, got attention_dim={width}, heads={heads}")
        self.heads, self.pre_norm = heads, pre_norm
        self.query, self.key = nn.Linear(dim, width, bias=False), nn.Linear(dim, width, bias=False)
        self.value = None if released else nn.Linear(dim, width, bias=False)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Sequential(nn.Linear(width, dim), self.drop)
        if released and heads == 1 and width == dim:
            self.out = nn.Sequential()  # with nothing to bring together the authors leave it out
        self.feed = feed_forward(dim, hidden, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        xavier(self)

    def treat_alike(self) -> None:
        """Let both halves of the channels be given the same at first, so that equal dates stay equal."""
        for layer in (self.out[0], self.feed[-1]):
            for p in layer.parameters():
                first, second = p.data.chunk(2)
                second.copy_(first)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, N, D)`` to tokens ``(B, N, D)``."""
        if self.pre_norm:
            x = x + self._attend(self.norm1(x))
            return x + self.drop(self.feed(self.norm2(x)))
        x = self.norm1(x + self._attend(x))
        y: Tensor = self.norm2(x + self.drop(self.feed(x)))
        return y

    def _attend(self, x: Tensor) -> Tensor:
        k = self.key(x)
        v = k if self.value is None else self.value(x)
        seen: Tensor = self.out(look(self.query(x), k, v, self.heads, self.drop.p if self.training else 0.0))
        return seen


class CosineFusion(nn.Module):
    """Maps of both dates ``(B, C, h, w)`` and their similarity to one map ``(B, D, h, w)``."""

    def __init__(self, channels: int, dim: int, released: bool) -> None:
        super().__init__()
        self.similarity = Similarity(added=released)
        self.join = nn.Conv2d(2 * channels + (not released), dim, 1)
        self.left = bottleneck(dim)
        self.channels = channels

    def compare(self) -> None:
        """Let the dates' difference be seen at first: the weights after are those before, negated."""
        before, after, _ = self.join.weight.data.split([self.channels, self.channels, 1], dim=1)
        after.copy_(-before)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The fused map."""
        x = self.join(self.similarity(a, b))
        return F.relu(x + self.left(x))


class Similarity(nn.Module):
    """Both maps and the cosine of the angle between them: a channel more, or ``added`` to every channel."""

    def __init__(self, added: bool) -> None:
        super().__init__()
        self.added = added

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``(B, 2C + 1, h, w)``, or ``(B, 2C, h, w)`` where it is added."""
        cosine = F.cosine_similarity(a, b, dim=1).unsqueeze(1)  # (B, 1, h, w)
        return torch.cat([a, b], dim=1) + cosine if self.added else torch.cat([a, b, cosine], dim=1)


class ResidualLayer(DecoderLayer):
    """The decoder layer of Vaswani et al. 2017 whose words are added to what becomes of them."""

    def forward(self, x: Tensor, memory: Memory, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """New features of the new words ``(B·K, T, D)``, and the past grown by them."""
        y, past = super().forward(x, memory, past)
        return y if self.pre_norm else x + y, past
