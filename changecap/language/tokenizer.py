"""From text to ids and back: what a captioner's words are made of, whatever they are.

The word list of a data set (:class:`changecap.language.vocabulary.Vocabulary`) is one tokenizer; the pieces of a
language model are another. The word loop, training, forced and bad words, and checkpoints know what stands here only.

A checkpoint keeps what :meth:`Tokenizer.dump` gives, and the ``kind`` by which :func:`load` finds who reads it. A kind
is made known by :func:`register`, or by an installed package with the entry-point group ``changecap.tokenizers``.
"""

from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path
from typing import Protocol, cast

from ..errors import CheckpointError, ConfigError

WORD_LIST = "words"  # the kind of a checkpoint that names none, as those from before there were others
ENTRY_POINTS = "changecap.tokenizers"


class Tokenizer(Protocol):
    """Makes ids of text, and text of ids."""

    @property
    def kind(self) -> str:
        """Name under which its class is registered."""

    @property
    def bos(self) -> int:
        """Id that begins a sentence."""

    @property
    def eos(self) -> int:
        """Id that ends one."""

    @property
    def pad(self) -> int:
        """Id that fills up shorter sentences of a batch; nothing is learned of it."""

    @property
    def unk(self) -> int | None:
        """Id of what has no id of its own; ``None`` where everything has one."""

    @property
    def hash(self) -> str:
        """SHA-256, hexadecimal, of all that decides which ids a text gets."""

    def __len__(self) -> int:
        """How many ids there are: 0 to this, exclusive."""

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without the beginning and the end: the caller adds what it needs."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids`` up to the end, without beginning and padding."""

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each of ``ids`` stands for, one string an id: for attention maps and tables."""

    def dump(self) -> bytes:
        """The content of a file from which the registered class makes an equal tokenizer again."""


class TokenizerClass(Protocol):
    """A registered class: reads what its instances' ``dump`` gave."""

    def load(self, path: Path) -> Tokenizer:
        """The tokenizer of the file at ``path``.

        Raises:
            DataError: the file is not one of this kind.
        """


_classes = {WORD_LIST: "changecap.language.vocabulary:Vocabulary"}


def register(kind: str, where: str) -> None:
    """Make the tokenizers of ``kind`` known to checkpoints.

    Args:
        kind: name in the configuration of checkpoints.
        where: the class, ``"package.module:Class"``; it has ``load``, see :class:`TokenizerClass`, and is imported
            only when a checkpoint asks for it.

    Raises:
        ConfigError: the kind belongs to another class already.
    """
    if _classes.setdefault(kind, where) != where:
        raise ConfigError(f"the tokenizer kind {kind!r} is {_classes[kind]} already, it cannot be {where} too")


def load(kind: str, path: Path) -> Tokenizer:
    """The tokenizer of ``kind`` in the file at ``path``.

    Raises:
        CheckpointError: the kind is not known here, or the package that brings it cannot be imported.
        DataError: the file is not one of that kind.
    """
    return _class_of(kind).load(path)


def encode_sentence(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of ``text`` as a captioner says it: beginning and end included."""
    return [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos]


def without_special(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """Those of ``ids`` that are words: all up to the end, but for beginning and padding."""
    words = []
    for i in ids:
        if i == tokenizer.eos:
            break
        if i not in (tokenizer.bos, tokenizer.pad):
            words.append(i)
    return words


def _class_of(kind: str) -> TokenizerClass:
    """The class that is registered as ``kind``, by :func:`register` or by an installed package."""
    where = _classes.get(kind)
    if where is None:
        installed = {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINTS)}
        where = installed.get(kind)
        if where is None:
            known = ", ".join(sorted({*_classes, *installed}))
            raise CheckpointError(
                f"its tokenizer is of kind {kind!r}, which is not known here, only {known}; install the package that "
                "brings it, or make it known with changecap.language.tokenizer.register"
            )

    module, _, name = where.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"its tokenizer of kind {kind!r} is {where}, which cannot be had: {error}") from error
    return cast(TokenizerClass, found)
