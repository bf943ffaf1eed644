"""RSICCformer: "Remote Sensing Image Change Captioning With Dual-Branch Transformers: A New Method ...".

IEEE TGRS 2022, doi 10.1109/TGRS.2022.3218921. One backbone sees both dates. In every layer of the dual-branch encoder
each date asks the signed difference of the two, and the layers are stacked: the next difference is that of what the
last layer gave. The layers' outputs are fused level by level into one memory, at which a transformer decoder looks.

Ours beside the paper: the fusion starts as a comparison of the dates and the position tables as large as the features,
not ten times smaller, without which a captioner that is trained from nothing learns late where the change is; word
embeddings start as large as the position code and drop with everything else; land-cover maps, where wanted, are added
to the images' features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .captioner import Captioner, Memory, State
from .layers.backbone import token_grid
from .layers.blocks import CrossBlock, Fusion, xavier
from .layers.pair_input import PairBackbone
from .layers.position import GridPosition
from .layers.word_decoder import DecoderLayer, WordDecoder


class RSICCformer(Captioner):
    """The RSICCformer captioner; the signature holds the published values.

    Args:
        vocab: number of words V.
        inputs: ``"rgb"``, as published, ``"maps"`` or ``"both"``; see :class:`zoo.layers.pair_input.PairBackbone`.
        backbone: keyword arguments of :class:`zoo.layers.backbone.Backbone`.
        image_size: side in pixels of the images the position tables are made for; other grids interpolate them.
        classes: number S of land-cover classes, the unlabelled one included.
        dim: width d of the encoder; the decoder's is 2d.
        layers, decoder_layers, heads, dropout: as published.
        decoder_heads: of the decoder; as many as the encoder's when not given.
        max_words: longest sentence, start and end counted.
        project: bring the backbone's maps to d channels; ``False``: they have as many.
        pre_norm: normalise what enters a sub-layer, not what leaves it as in the paper; it learns in fewer steps
            (Xiong et al. 2020).
        released: as the authors' code runs, which their weights depend on (numbers of the quirk list in brackets):
            maps of other widths than the four known enter unprojected, see ``project`` [2]; the grid is pooled to
            14 x 14, and of position tables made for more the first rows are taken [4]; word embeddings are not scaled
            and drop at 0.1 [7]. Frozen blocks keep their BatchNorm statistics all the same, unlike [1].

    Raises:
        ValueError: ``layers`` is below 1, arguments contradict each other, or the backbone's are wrong.
    """

    def __init__(
        self,
        vocab: int,
        *,
        inputs: str = "rgb",
        backbone: Mapping[str, Any] | None = None,
        image_size: int = 256,
        classes: int = 7,
        dim: int = 512,
        layers: int = 3,
        decoder_layers: int = 1,
        heads: int = 8,
        decoder_heads: int | None = None,
        dropout: float = 0.5,
        max_words: int = 128,
        project: bool = True,
        pre_norm: bool = False,
        released: bool = False,
    ) -> None:
        super().__init__()
        if released and pre_norm:
            raise ValueError("released=True is the authors' code, which normalises after: leave out pre_norm")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}: the memory is what they are fused to")
        self.inputs, self.max_words, self.released = inputs, max_words, released
        trunk: dict[str, Any] = {"name": "resnet101", "stride": 16} | ({"pool": 14} if released else {})
        self.backbone = PairBackbone(inputs, trunk | dict(backbone or {}), classes)
        channels, self.side = self.backbone.channels, self.backbone.grid(image_size)
        if not project and channels != dim:
            raise ValueError(f"project=False needs maps of dim={dim} channels, the backbone's have {channels}")
        self.projection = nn.Conv2d(channels, dim, 1) if project else nn.Identity()
        self.position = GridPosition(dim, self.side, self.side)
        self.layers = nn.ModuleList(CrossBlock(dim, heads, dropout, pre_norm) for _ in range(layers))
        fusions = [Fusion(2 * dim) for _ in range(layers)]
        self.fusions = nn.ModuleList(fusions)
        xavier(self.projection, self.layers, self.fusions, *([self.position] if released else []))
        if not released:
            for fusion in fusions:
                fusion.compare()
        self.words = WordDecoder(
            vocab,
            2 * dim,
            [DecoderLayer(2 * dim, decoder_heads or heads, dropout, pre_norm=pre_norm) for _ in range(decoder_layers)],
            dropout=dropout,
            embedding_dropout=0.1 if released else dropout,
            scale=not released,
            norm=pre_norm,
            max_words=max_words,
        )

    def encode(self, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None) -> Memory:
        """One memory ``(B, N, 2d)``; see :meth:`Captioner.encode`."""
        x = self.projection(torch.cat(self.backbone(a, b, sem_a, sem_b)))  # (2B, d, h, w)
        grid = h, w = x.shape[-2:]
        table = (max(h, self.side), max(w, self.side)) if self.released else grid
        a, b = token_grid(x + self.position(*table)[:, :h, :w]).chunk(2)  # (B, N, d) each
        memory = a.new_zeros(())  # below the first level there is nothing
        for layer, fusion in zip(self.layers, self.fusions, strict=True):
            change = b - a
            a, b = layer((a, b), (change, change))
            memory = fusion(memory + torch.cat([a, b], dim=2), grid)  # (B, N, 2d)
        return (memory,)

    def decode(self, words: Tensor, memory: Memory, state: State | None = None) -> tuple[Tensor, State]:
        """Logits ``(B·K, T, V)`` of the next words; see :meth:`Captioner.decode`."""
        logits, state = self.words(words, memory, state)
        return logits, state
