"""The contract that every captioner keeps, and the state of an unfinished sentence."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layers.attention import watch

Memory = tuple[Tensor, ...]  # what a pair was encoded to; batch first, only ever indexed by row


@dataclass(frozen=True)
class State:
    """What a decoder remembers of the words so far, so that a new word costs one position.

    ``past`` holds tensors with one row per sentence (keys and values of the words so far); only the model looks inside.
    """

    length: int
    past: tuple[Tensor, ...]

    def select(self, sentences: Tensor) -> "State":
        """Reorder or cut: keep the rows ``sentences`` (R')."""
        return State(self.length, tuple(x.index_select(0, sentences) for x in self.past))


class Captioner(nn.Module, ABC):
    """Maps a before/after pair to next-word logits.

    ``inputs`` says what the model was built to see: ``"rgb"``, ``"maps"`` or ``"both"``; ``max_words`` is its longest
    sentence, start and end counted.
    """

    inputs: str
    max_words: int

    @abstractmethod
    def encode(self, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None) -> Memory:
        """Encode a pair into change memory.

        Args:
            a: images before, float in [0, 1], ``(B, 3, H, W)``.
            b: images after.
            sem_a: land-cover classes before, integers, ``(B, H, W)``; needed unless ``inputs="rgb"``.
            sem_b: land-cover classes after.

        Raises:
            ValueError: the maps that the captioner was built for are missing.
        """

    @abstractmethod
    def decode(self, words: Tensor, memory: Memory, state: State | None = None) -> tuple[Tensor, State]:
        """Score the word after each of ``words``.

        Args:
            words: ids ``(B·K, T)``: K sentences for each of the B pairs of ``memory``, pair by pair, so that the
                memory is projected once per pair and never repeated.
            memory: what ``encode`` returned.
            state: what the last call returned for these sentences; ``words`` are then only the new ones.

        Returns:
            Logits ``(B·K, T, V)`` and the new state.
        """

    def forward(
        self, words: Tensor, a: Tensor, b: Tensor, sem_a: Tensor | None = None, sem_b: Tensor | None = None
    ) -> Tensor:
        """Logits ``(B·K, T, V)`` for teacher forcing."""
        return self.decode(words, self.encode(a, b, sem_a, sem_b))[0]

    @torch.no_grad()
    def attend(self, words: Tensor, memory: Memory) -> Tensor:
        """Where each word of finished sentences was looked for.

        Args:
            words: ids ``(B·K, T)``, the start first.
            memory: what ``encode`` returned.

        Returns:
            ``(B·K, T - 1, N)``, for each word after the start its weights over the N tokens of the memory; they sum
            to 1. The mean of the decoder's heads, layers and memories.
        """
        with watch(self) as looks:
            self.decode(words[:, :-1], memory)
        return torch.stack(looks).mean(0)
