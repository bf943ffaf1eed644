"""The word list of a data set: the tokenizer whose pieces are whole words."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from ..errors import DataError
from ..io.json_file import read_json
from .tokenizer import WORD_LIST, without_special

SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
_SAME = {"<NULL>": "<pad>", "<UNK>": "<unk>", "<START>": "<start>", "<END>": "<end>"}
_WORD = re.compile("\\w+(?:[-'\u2019]\\w+)*")


def tokenise(sentence: str) -> list[str]:
    r"""The words of ``sentence``, lower-case.

    A word is a run of letters, digits and underscores of any script (``\w+``), with hyphens and apostrophes kept
    inside it (``t-shaped``, ``court's``). Everything else separates words and is dropped.
    """
    return _WORD.findall(sentence.lower())


class Vocabulary:
    """The words a captioner can say; ids are places in ``words``, the first four are special.

    Args:
        words: the special ones first, each once.

    Raises:
        DataError: they do not begin with the special ones, or one is there twice.
    """

    kind = WORD_LIST
    pad, unk, bos, eos = range(4)

    def __init__(self, words: Sequence[str]) -> None:
        if tuple(words[:4]) != SPECIAL or len(set(words)) != len(words):
            raise DataError(f"a vocabulary begins with {', '.join(SPECIAL)} and holds each word once")
        self.words = list(words)
        self._ids = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int = 1) -> "Vocabulary":
        """All words seen at least ``min_count`` times, the most frequent first, then by the alphabet.

        Raises:
            DataError: no word is that frequent.
        """
        count: Counter[str] = Counter()
        for caption in captions:
            count.update(tokenise(caption))
        kept = [word for word, times in count.items() if times >= min_count]
        if not kept:
            raise DataError(f"no word occurs {min_count} times or more in the captions; lower min_count")
        return cls([*SPECIAL, *sorted(kept, key=lambda word: (-count[word], word))])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the file that :meth:`dump` gives, hexadecimal."""
        return hashlib.sha256(self.dump()).hexdigest()

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Ids of the words of ``text``, without start and end; an unknown word is ``<unk>``."""
        return [self._ids.get(word, self.unk) for word in tokenise(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The sentence of ``ids`` up to the end, without start and padding."""
        return " ".join(self.pieces(without_special(self, ids)))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The word of each of ``ids``, the special ones too."""
        return [self.words[i] for i in ids]

    def dump(self) -> bytes:
        """The words as a JSON list, one a line."""
        return json.dumps(self.words, ensure_ascii=False, indent=0).encode()

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read a file of what :meth:`dump` gave.

        Raises:
            DataError: the file is missing, or not a list of words that begins with the special ones.
        """
        words = read_json(path, f"no vocabulary at {path}; a checkpoint is a whole folder, copy all of it")
        if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
            raise DataError(f"{path} is not a vocabulary: expected a JSON list of words")
        try:
            return cls(words)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None


def read_words(path: Path) -> dict[str, int]:
    """The authors' map of words to ids, ours of the special words, which come first; the others by their ids.

    Raises:
        DataError: it is no such map, its ids are not 0, 1, 2 ..., or a special word is missing.
    """
    content = read_json(path, f"no map of words at {path}; the authors keep it beside their data (WORDMAP, vocab)")
    if not isinstance(content, dict) or not all(type(i) is int for i in content.values()):
        raise DataError(f"{path} is not a map of words: expected a JSON object of word: id")
    if sorted(content.values()) != list(range(len(content))):
        raise DataError(f"the ids in {path} must be all from 0 to {len(content) - 1}, each once")
    ids: dict[str, int] = {_SAME.get(str(word), str(word)): i for word, i in content.items()}
    if missing := [word for word in SPECIAL if word not in ids]:
        raise DataError(f"{path} lacks {', '.join(missing)}, which every published model has")
    if len(ids) != len(content):
        raise DataError(f"{path} has a special word twice, in both spellings of {', '.join(_SAME.values())}")
    return {word: ids[word] for word in (*SPECIAL, *sorted(ids.keys() - set(SPECIAL), key=lambda word: ids[word]))}
