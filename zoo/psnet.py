"""PSNet: "Progressive Scale-Aware Network for Remote Sensing Image Change Captioning".

IGARSS 2023, arXiv 2303.00355. A frozen vision transformer sees both dates. Progressive difference perception (PDP)
layers read each date beside the difference of the dates, one after the other; what each of them gives is a scale.
Scale-aware reinforcement (SR) lets every scale look at all others, and the decoder's layers read the scales from the
deepest to the shallowest.

Ours beside the paper: both dates of a PDP layer see the same difference, that of the layer's inputs; SR is a
transformer block, whose residual keeps what was looked at; there are as many scales as layers, and only those that the
decoder reads are reinforced; images keep their size, the trunk's positions are interpolated. Nothing was added to find
the change: the difference enters every PDP layer as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .captioner import Captioner, Memory, State
from .layers.attention import Attention
from .layers.backbone import token_grid
from .layers.blocks import Dates, feed_forward, xavier
from .layers.pair_input import PairBackbone
from .layers.position import FirstPositions, GridPosition
from .layers.word_decoder import DecoderLayer, WordDecoder

TRUNK = {"name": "vit_base_patch32_224", "stride": 32}
SCALES = 3  # of the authors' code


class PSNet(Captioner):
    """The PSNet captioner; the signature holds the published values.

    Args:
        vocab: number of words V.
        inputs: ``"rgb"``, as published, ``"maps"`` or ``"both"``, see :class:`zoo.layers.pair_input.PairBackbone`.
        backbone: keyword arguments of :class:`zoo.layers.backbone.Backbone`; without a name those of the published one.
        image_size: side in pixels of the images the position tables are made for; other grids interpolate them.
        classes: number S of land-cover classes, the unlabelled one included.
        dim: width d of a date; the scales' and the decoder's is 2d.
        layers, decoder_layers, heads, dropout: as published; one PDP layer makes one scale.
        decoder_heads, scale_heads: of the decoder and of SR; as many as the PDP layers' when not given.
        scale_dropout: in SR; ``dropout`` when not given.
        max_words: longest sentence, start and end counted.
        pre_norm: normalise what enters a sub-layer of PDP and decoder, not what leaves it as in the paper; it learns in
            fewer steps (Xiong et al. 2020). SR does so in the paper already.
        released: as the authors' code runs, which their weights depend on (numbers of the quirk list in brackets): the
            date after sees the difference to the date before as the layer has just changed it [1]; SR forgets what was
            there before it looked, but for the residual around all of it [2]; dropout is 0.1 in PDP and on embeddings,
            and in SR 0.8 if not given [3]; there are three scales, and eight heads in SR if not given [4]; a grid
            smaller than the position tables reads their beginning; word embeddings are not scaled; images are
            normalised as ImageNet's, a vision transformer sees them at 224 x 224, not smoothed [13], and the map of
            another trunk is pooled to 14 x 14.

    Raises:
        ValueError: the arguments contradict each other.
    """

    def __init__(
        self,
        vocab: int,
        *,
        inputs: str = "rgb",
        backbone: Mapping[str, Any] | None = TRUNK,
        image_size: int = 256,
        classes: int = 7,
        dim: int = 512,
        layers: int = SCALES,
        decoder_layers: int = 3,
        heads: int = 8,
        decoder_heads: int | None = None,
        scale_heads: int | None = None,
        dropout: float = 0.5,
        scale_dropout: float | None = None,
        max_words: int = 128,
        pre_norm: bool = False,
        released: bool = False,
    ) -> None:
        super().__init__()
        if released and pre_norm:
            raise ValueError("released=True is the authors' code, which normalises after: leave out pre_norm")
        if released and layers != SCALES:
            raise ValueError(f"released=True has {SCALES} scales, got layers={layers}")
        if min(layers, decoder_layers) < 1:
            raise ValueError(f"layers and decoder_layers must be at least 1, got {layers} and {decoder_layers}")
        self.inputs, self.max_words, self.released = inputs, max_words, released
        self.backbone = PairBackbone(inputs, _trunk(backbone or {}, released), classes)
        self.projection = nn.Conv2d(self.backbone.channels, dim, 1)
        side = self.backbone.grid(image_size)
        self.position = (FirstPositions if released else GridPosition)(dim, side, side)
        self.layers = nn.ModuleList(
            DifferenceLayer(dim, heads, 0.1 if released else dropout, pre_norm, released) for _ in range(layers)
        )
        read = layers if released else min(layers, decoder_layers)
        if scale_heads is None:
            scale_heads = 8 if released else heads
        if scale_dropout is None:
            scale_dropout = 0.8 if released else dropout
        self.scales = nn.ModuleList(  # one scale alone has none to look at
            ScaleBlock(2 * dim, scale_heads, scale_dropout, released) for _ in range(read if layers > 1 else 0)
        )
        xavier(self.projection, self.position, self.layers, self.scales)
        # the deepest scale first, and after the shallowest the deepest again
        levels = [(read - 1 - j) % read for j in range(decoder_layers)]
        self.words = WordDecoder(
            vocab,
            2 * dim,
            [DecoderLayer(2 * dim, decoder_heads or heads, dropout, level=i, pre_norm=pre_norm) for i in levels],
            dropout=dropout,
            embedding_dropout=0.1 if released else dropout,
            scale=not released,
            norm=pre_norm,
            max_words=max_words,
        )

    def encode(self, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None) -> Memory:
        """The scales that the decoder reads ``(B, N, 2d)``, the deepest last; see :meth:`Captioner.encode`."""
        x = self.projection(torch.cat(self.backbone(a, b, sem_a, sem_b)))  # (2B, d, h, w)
        before, after = token_grid(x + self.position(*x.shape[-2:])).chunk(2)  # (B, N, d) each
        scales = []
        for layer in self.layers:
            before, after = layer(before, after)
            scales.append(torch.cat([before, after], dim=2))  # (B, N, 2d)
        if len(scales) == 1:
            return tuple(scales)
        first = len(scales) - len(self.scales)
        return tuple(look(scales[i], scales[:i] + scales[i + 1 :]) for i, look in enumerate(self.scales, first))

    def decode(self, words: Tensor, memory: Memory, state: State | None = None) -> tuple[Tensor, State]:
        """Logits ``(B·K, T, V)`` of the next words; see :meth:`Captioner.decode`."""
        logits, state = self.words(words, memory, state)
        return logits, state


class DifferenceLayer(nn.Module):
    """PDP: a transformer layer reads each date beside the difference of the dates.

    ``sequential``: the second date sees the difference to the first as it has become.
    """

    def __init__(self, dim: int, heads: int, dropout: float, pre_norm: bool, sequential: bool) -> None:
        super().__init__()
        self.pre_norm, self.sequential = pre_norm, sequential
        self.attention = Attention(2 * dim, heads, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(2 * dim), nn.LayerNorm(2 * dim)
        self.feed = feed_forward(2 * dim, 4 * dim, dropout)
        self.drop = nn.Dropout(dropout)
        self.project = nn.Linear(2 * dim, dim)

    def forward(self, a: Tensor, b: Tensor) -> Dates:
        """Both dates ``(B, N, d)`` one layer further."""
        if self.sequential:
            a = self._perceive(a, b - a)
            return a, self._perceive(b, b - a)
        change = b - a
        a, b = self._perceive(torch.cat([a, b]), torch.cat([change, change])).chunk(2)
        return a, b

    def _perceive(self, date: Tensor, change: Tensor) -> Tensor:
        x = torch.cat([date, change], dim=2)  # (B, N, 2d)
        if self.pre_norm:
            entered = self.norm1(x)
            x = x + self.drop(self.attention(entered, entered))
            x = x + self.drop(self.feed(self.norm2(x)))
        else:
            x = self.norm1(x + self.drop(self.attention(x, x)))
            x = self.norm2(x + self.drop(self.feed(x)))
        seen: Tensor = self.project(x)  # (B, N, d)
        return seen


class ScaleBlock(nn.Module):
    """SR: a scale looks at all others; ``forgetful`` as the authors' code, which feeds on what was looked at alone."""

    def __init__(self, dim: int, heads: int, dropout: float, forgetful: bool) -> None:
        super().__init__()
        self.forgetful = forgetful
        self.attention = Attention(dim, heads, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed = feed_forward(dim, 4 * dim, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, scale: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The ``scale`` ``(B, N, D)`` after it has looked at the ``others``, each ``(B, N, D)``."""
        seen = self.attention(self.norm1(scale), self.norm1(torch.cat([*others], dim=1)))
        if self.forgetful:
            return scale + self.drop(self.feed(self.norm2(seen)))
        x = scale + self.drop(seen)
        return x + self.drop(self.feed(self.norm2(x)))


def _trunk(given: Mapping[str, Any], released: bool) -> dict[str, Any]:
    """Keyword arguments of the trunk: those ``given``, and where they are silent the published ones."""
    name = given.get("name", TRUNK["name"])
    published: dict[str, Any] = dict(TRUNK) if name == TRUNK["name"] else {}
    if released and name != "features":  # feature maps have been through all this
        vit = {"resize": 224, "antialias": False}  # as torchvision resized when the weights were made
        published |= {"normalise": "imagenet"} | (vit if name.startswith("vit") else {"pool": 14})
    return published | dict(given)
