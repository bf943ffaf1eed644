"""Augmented pairs whose captions stay true: in training on the fly, and as a data set of their own.

Pixels are changed by :mod:`preprocess.pipeline`, words by :mod:`changecap.language.directions`. A caption that cannot
be rewritten is left out and counted; a pair that would lose all of them is not turned.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from preprocess import Chain, Pair, build

from ..errors import ConfigError
from ..language.directions import TURNS, Turn, rewrite
from ..language.tokenizer import Tokenizer, encode_sentence
from ..language.vocabulary import Vocabulary, tokenise


def chains(preprocess: Mapping[str, Any] | None) -> tuple[Chain, Chain]:
    """Of the configuration ``preprocess``, the steps that always act and the augmentations, each as a chain.

    Raises:
        ConfigError: a step is not known or wrong, or follows an augmentation and always acts.
    """
    config = preprocess or {}
    try:
        chain = build(config if "format" in config else config.get("steps") or [])
    except ValueError as error:
        raise ConfigError(f"preprocess.steps: {error}") from None
    drawn = [bool(step.draws) for step in chain.steps]
    first = drawn.index(True) if True in drawn else len(drawn)
    if not all(drawn[first:]):
        late = chain.names[drawn.index(False, first)]
        raise ConfigError(
            f"preprocess.steps: {late} always acts, so it comes before {chain.names[first]}, which is drawn"
        )
    steps = chain.config["steps"]
    return build(steps[:first]).eval(), build(steps[first:])


class Augmentation:
    """What happens to the batches of a training run; a function of its seed and the step alone.

    Args:
        chain: the augmentations.
        captions: of each training pair.
        tokenizer: makes ids of them.
        seed: of what is drawn.
    """

    def __init__(self, chain: Chain, captions: Sequence[Sequence[str]], tokenizer: Tokenizer, seed: int = 0) -> None:
        self.chain, self.captions, self.tokenizer, self.seed = chain, captions, tokenizer, seed
        self.encoded = [self._encoded(of_pair) for of_pair in captions]

    def __call__(self, batch: Pair, pairs: Sequence[int], step: int) -> tuple[Pair, list[list[list[int]]], int]:
        """The augmented ``batch`` of ``pairs``, their captions encoded, and how many of these were left out."""
        captions = [self.encoded[i] for i in pairs]
        if not self.chain.draws:
            return batch, captions, 0
        generator = torch.Generator().manual_seed((self.seed * 2**32 + step) % 2**63)
        done = self.chain.run(batch, generator)
        turned, left_out, kept = [], 0, []
        for i, turn in zip(pairs, done.turn.tolist(), strict=True):
            followed = follow(self.captions[i], turn_of(turn))
            kept.append(bool(followed))
            turned.append(self._encoded(followed) if followed else self.encoded[i])
            left_out += len(self.captions[i]) - len(followed) if followed else 0
        return _where(torch.tensor(kept, device=batch.a.device), done.pair, batch), turned, left_out

    def _encoded(self, captions: Iterable[str]) -> list[list[int]]:
        """Ids of each of ``captions``, beginning and end included."""
        return [encode_sentence(self.tokenizer, caption) for caption in captions]


def turn_of(matrix: Sequence[Sequence[int]]) -> Turn:
    """A row of what a chain tells of its turns, as :mod:`changecap.language.directions` has it."""
    (a, b), (c, d) = matrix
    return (a, b), (c, d)


def follow(captions: Iterable[str], turn: Turn) -> list[str]:
    """Those of ``captions`` that can be rewritten for the turned images, rewritten."""
    return [said for caption in captions if (said := rewrite(caption, turn)) is not None]


def with_turned(vocabulary: Vocabulary, captions: Sequence[str], min_count: int) -> Vocabulary:
    """``vocabulary`` with the words that only rewritten ``captions`` hold, such as "left-hand" for "upper"."""
    said = {word for caption in captions for word in tokenise(caption)}
    most: Counter[str] = Counter()
    for turn in TURNS.values():
        most |= Counter(word for caption in follow(captions, turn) for word in tokenise(caption))
    new = sorted(word for word, count in most.items() if count >= min_count and word not in said)
    return Vocabulary([*vocabulary.words, *new])


def _where(kept: torch.Tensor, augmented: Pair, original: Pair) -> Pair:
    if bool(kept.all()):
        return augmented
    both = zip(augmented, original, strict=True)
    chosen = (None if x is None or y is None else torch.where(_over(kept, y), x, y) for x, y in both)
    return Pair(*chosen)  # type: ignore[arg-type]


def _over(kept: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``kept`` ``(B,)`` such that it is broadcast over the samples of ``x``."""
    return kept.unflatten(0, (-1, *[1] * (x.ndim - 1)))
