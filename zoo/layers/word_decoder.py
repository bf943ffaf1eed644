"""The causal word decoder that transformer captioners share; each paper brings its own layer."""

from collections.abc import Iterable
from typing import Protocol, cast

from torch import Tensor, nn

from ..captioner import Memory, State
from .attention import Attention, KeyValue
from .blocks import feed_forward
from .linear import Linear
from .position import sinusoid


class WordLayer(Protocol):
    """What a paper's decoder layer offers."""

    def __call__(self, x: Tensor, memory: Memory, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """New features of the new words ``(B·K, T, D)``, and the past grown by them."""


class WordDecoder(nn.Module):
    """Embed, run the layers, score: ids ``(B·K, T)`` to logits ``(B·K, T, V)``, with an incremental state.

    Args:
        vocab: number of words V.
        dim: width D.
        layers: the paper's layers, see ``WordLayer``.
        dropout: before the output layer.
        embedding_dropout: after the position code is added.
        scale: multiply embeddings by sqrt(D), so that they are as large as the position code.
        norm: normalise what the last layer gives, as layers that normalise their input need it.
        max_words: longest sentence, start and end counted.
    """

    def __init__(
        self,
        vocab: int,
        dim: int,
        layers: Iterable[nn.Module],
        *,
        dropout: float,
        embedding_dropout: float,
        scale: bool = True,
        norm: bool = False,
        max_words: int = 128,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.position = nn.Buffer(sinusoid(max_words, dim), persistent=False)
        self.embedding_dropout, self.dropout = nn.Dropout(embedding_dropout), nn.Dropout(dropout)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.head = Linear(dim, vocab)
        self.scale = dim**0.5 if scale else 1.0
        if scale:
            nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        else:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.head.weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, words: Tensor, memory: Memory, state: State | None = None) -> tuple[Tensor, State]:
        """Logits ``(B·K, T, V)`` for ids ``words`` ``(B·K, T)`` after ``state``, and the state after them.

        Raises:
            ValueError: the sentence is longer than ``max_words``, or the rows are not a multiple of the pairs.
        """
        done = 0 if state is None else state.length
        if done + words.shape[1] > len(self.position):
            raise ValueError(f"sentences of {done + words.shape[1]} words, but max_words={len(self.position)}")
        if words.shape[0] % memory[0].shape[0]:
            raise ValueError(f"{words.shape[0]} sentences do not share out over {memory[0].shape[0]} pairs")
        x = self.embedding(words) * self.scale + self.position[done : done + words.shape[1]]
        x = self.embedding_dropout(x)
        past: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            before = None if state is None else (state.past[2 * i], state.past[2 * i + 1])
            x, after = cast(WordLayer, layer)(x, memory, before)
            past += after
        return self.head(self.dropout(self.norm(x))), State(done + words.shape[1], tuple(past))


class DecoderLayer(nn.Module):
    """The decoder layer of Vaswani et al. 2017: words look at the words before them, then at the memory.

    Args:
        dim: width D.
        heads: of both attentions.
        dropout: of attention weights, branches and the feed-forward layer.
        level: which tensor of the memory is looked at.
        pre_norm: normalise what enters a sub-layer in place of what leaves it (Xiong et al. 2020).
    """

    def __init__(self, dim: int, heads: int, dropout: float, *, level: int = 0, pre_norm: bool = False) -> None:
        super().__init__()
        self.level, self.pre_norm = level, pre_norm
        self.self_attention, self.cross = Attention(dim, heads, dropout), Attention(dim, heads, dropout)
        self.feed = feed_forward(dim, 4 * dim, dropout)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Memory, past: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """New features of the new words ``(B·K, T, D)``, and the past grown by them."""
        if self.pre_norm:
            before, past = self.self_attention.causal(self.norm1(x), past)
            x = x + self.drop(before)
            x = x + self.drop(self.cross(self.norm2(x), memory[self.level]))
            return x + self.drop(self.feed(self.norm3(x))), past
        before, past = self.self_attention.causal(x, past)
        x = self.norm1(x + self.drop(before))
        x = self.norm2(x + self.drop(self.cross(x, memory[self.level])))
        return self.norm3(x + self.drop(self.feed(x))), past
