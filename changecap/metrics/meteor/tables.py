"""METEOR's English tables: WordNet's synonyms and the paraphrases of the distribution, in a compact form.

Read from the METEOR distribution (the jar holds WordNet's part, ``data/paraphrase-en.gz`` beside it the paraphrases),
which pycocoevalcap brings along. The first use writes arrays to the cache folder; later ones map them into memory, so
that only what is looked up is read.
"""

import gzip
import hashlib
import io
import os
import shutil
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, repeat
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

_VERSION = 3  # of the compact form
_JAR, _PARAPHRASES = "meteor-1.5.jar", "paraphrase-en.gz"
_SYNSETS, _INFLECTIONS = "synonym/english.synsets", "synonym/english.exceptions"
_ARRAYS = ("words", "synset_starts", "synsets", "forms", "bases", "phrase_words", "levels", "nodes", "starts", "others")
# WordNet's rules for the base of an inflected form, all parts of speech; the first base that is a word counts.
_ENDINGS = (
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
    ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""), ("er", ""), ("est", ""), ("er", "e"),
    ("est", "e"),
)  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """Which words are synonyms, which phrases paraphrases. A node is a phrase or the beginning of one."""

    source: str  # where it was read from
    synsets: Mapping[str, NDArray[np.int32]]
    bases: Mapping[str, Sequence[str]]  # irregular inflected form -> base forms
    words: Mapping[str, int]  # of phrases
    levels: NDArray[np.int64]  # (L + 1,) where the nodes of each length begin; those of one word are the words
    nodes: NDArray[np.int64]  # sorted within a level: node of all but the last word * number of words + last word
    starts: NDArray[np.int64]  # (nodes + 1,) where the paraphrases of each node begin
    others: NDArray[np.int32]  # their nodes, as they are listed

    def meanings(self, word: str) -> set[int]:
        """The synonym sets of a word: its own, and those of the words that it may be an inflected form of."""
        found = set(self.synsets.get(word, np.empty(0, np.int32)).tolist())
        for base in self._bases(word):
            found.update(self.synsets.get(base, np.empty(0, np.int32)).tolist())
        return found

    def _bases(self, word: str) -> Sequence[str]:
        if word in self.bases:
            return self.bases[word]
        if len(word) > 2 and not word.endswith("ss"):
            for ending, replacement in _ENDINGS:
                if word.endswith(ending) and (base := word[: -len(ending)] + replacement) in self.synsets:
                    return (base,)
        return ()

    def phrases(self, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[int, int, int, int]]:
        """All (sentence, first word, number of words, node) that stand in the sentences and begin a phrase."""
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        row = np.repeat(np.arange(len(sentences)), lengths)
        first = np.arange(len(row)) - np.repeat(lengths.cumsum() - lengths, lengths)
        word = np.fromiter((self.words.get(w, -1) for w in chain.from_iterable(sentences)), np.int64, len(row))
        at = np.flatnonzero(word >= 0)
        node = word[at]
        for n in range(1, len(self.levels)):
            yield from zip(row[at].tolist(), first[at].tolist(), repeat(n), node.tolist(), strict=False)
            if n + 1 == len(self.levels):
                return
            inside = first[at] + n < lengths[row[at]]
            at, node = at[inside], node[inside]
            known = word[at + n] >= 0
            at, node = at[known], node[known]
            low, high = self.levels[n : n + 2]
            level = self.nodes[low:high]
            key = node * len(self.words) + word[at + n]
            place = np.searchsorted(level, key)
            hit = place < len(level)
            hit[hit] = level[place[hit]] == key[hit]
            at, node = at[hit], place[hit] + low

    def paraphrases(self, nodes: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """All (node, one listed as its paraphrase, which place on its list) among sorted ``nodes``."""
        for node in nodes.tolist():
            others = self.others[self.starts[node] : self.starts[node + 1]]
            if len(others):
                place = np.searchsorted(nodes, others)
                place[place == len(nodes)] = 0
                for listed in np.flatnonzero(nodes[place] == others).tolist():
                    yield node, int(others[listed]), listed


def load_tables(place: str | Path | None = None) -> Tables:
    """METEOR's tables, from the cache or, the first time, from the distribution.

    Args:
        place: METEOR's jar, or a folder that holds it; by default what ``$CHANGECAP_METEOR`` names, else an installed
            pycocoevalcap.

    Raises:
        DataError: there is no distribution; the message says where it was looked for.
    """
    jar, paraphrases = _find(place)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "changecap"
    folder = cache / f"meteor-{_fingerprint((jar, paraphrases))}"
    try:
        return _load(folder, str(jar))
    except (OSError, ValueError, EOFError):  # not there, or damaged
        pass
    arrays = _compact(jar, paraphrases)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(dir=cache, prefix=".part-"))
        try:
            for name, values in arrays.items():
                np.save(part / name, values)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return _load(folder, str(jar))
    except OSError:  # a cache that cannot be written costs time, not the score
        return _tables(arrays, str(jar))


def _find(place: str | Path | None) -> tuple[Path, Path]:
    """METEOR's jar and the file of paraphrases."""
    place = place or os.environ.get("CHANGECAP_METEOR")
    if place:
        where = [Path(place).expanduser()]
    else:
        package = find_spec("pycocoevalcap")
        where = [Path(folder) for folder in (package.submodule_search_locations or ())] if package else []
    for path in where:
        for jar in (path, path / _JAR, path / "meteor" / _JAR):
            for paraphrases in (jar.parent / "data" / _PARAPHRASES, jar.parent / _PARAPHRASES):
                if jar.is_file() and paraphrases.is_file():
                    return jar, paraphrases
    looked = str(where[0]) if where else "no installed pycocoevalcap"
    raise DataError(
        f"no {_JAR} with data/{_PARAPHRASES} found ({looked}); pip install changecap[meteor], or set CHANGECAP_METEOR "
        "to the folder of METEOR 1.5"
    )


def _fingerprint(files: Iterable[Path]) -> str:
    """A hash of the files' sizes, times and ends: all of 60 MB is not read each time."""
    digest = hashlib.sha256(bytes([_VERSION]))
    for path in files:
        stat = path.stat()
        with path.open("rb") as file:
            begin = file.read(1 << 16)
            file.seek(max(stat.st_size - (1 << 16), 0))
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode() + begin + file.read())
    return digest.hexdigest()[:16]


def _load(folder: Path, source: str) -> Tables:
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    return _tables(arrays, source)


def _tables(a: Mapping[str, NDArray], source: str) -> Tables:
    starts = a["synset_starts"].tolist()
    synsets = np.array(a["synsets"])
    return Tables(
        source,
        {word: synsets[i:j] for word, i, j in zip(_lines(a["words"]), starts, starts[1:], strict=False)},
        {form: bases.split() for form, bases in zip(_lines(a["forms"]), _lines(a["bases"]), strict=True)},
        {word: i for i, word in enumerate(_lines(a["phrase_words"]))},
        *(a[name] for name in ("levels", "nodes", "starts", "others")),
    )


def _compact(jar: Path, paraphrases: Path) -> dict[str, NDArray]:
    """The arrays of the cache, from the distribution."""
    try:
        with zipfile.ZipFile(jar) as archive:
            meanings = dict(_entries(archive.read(_SYNSETS)))
            inflected = dict(_entries(archive.read(_INFLECTIONS)))
        with gzip.open(paraphrases) as file:
            phrases = _compact_phrases(file)
    except (OSError, EOFError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"the METEOR distribution in {jar.parent} cannot be read: {error}; install it anew") from error
    meanings = {word: ids for word, ids in meanings.items() if "_" not in word}  # no normalised word has one
    bases: dict[str, list[str]] = {}
    for base, forms in inflected.items():
        for form in forms.split():
            bases.setdefault(form, []).append(base)
    synsets = [list(map(int, ids.split())) for ids in meanings.values()]
    return {
        "words": _blob(meanings),
        "synset_starts": np.cumsum([0, *map(len, synsets)]),
        "synsets": np.fromiter(chain.from_iterable(synsets), np.int32),
        "forms": _blob(bases),
        "bases": _blob(map(" ".join, bases.values())),
        **phrases,
    }


def _compact_phrases(file: gzip.GzipFile) -> dict[str, NDArray]:
    """The trie of all phrases, and each one's paraphrases; entries are three lines: probability, phrase, paraphrase."""
    ids: dict[bytes, int] = {}
    pairs = array("i")
    lines = io.BufferedReader(file, 1 << 20)
    for _, phrase, other in zip(lines, lines, lines, strict=True):
        pairs.append(ids.setdefault(phrase, len(ids)))
        pairs.append(ids.setdefault(other, len(ids)))

    words: dict[str, int] = {}
    flat, lengths = array("i"), array("i")
    for phrase in ids:
        split = phrase.decode("utf-8").split()
        lengths.append(len(split))
        flat.extend([words.setdefault(word, len(words)) for word in split])
    del ids
    word, length = np.array(flat, dtype=np.int64), np.array(lengths)
    begin = np.cumsum(length) - length
    node = word[begin] if len(begin) else word
    levels, nodes = [0, len(words)], [np.arange(len(words))]
    for n in range(1, length.max(initial=1)):
        longer = np.flatnonzero(length > n)
        level, place = np.unique(node[longer] * len(words) + word[begin[longer] + n], return_inverse=True)
        node[longer] = place + levels[-1]
        nodes.append(level)
        levels.append(levels[-1] + len(level))

    ends = node[np.array(pairs).reshape(-1, 2)]
    ends = ends[ends[:, 0] != ends[:, 1]]  # a phrase that is its own paraphrase is an exact match
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    starts = np.searchsorted(ends[:, 0], np.arange(levels[-1] + 1))
    others = ends[:, 1].astype(np.int32)
    return {
        "phrase_words": _blob(words),
        "levels": np.array(levels),
        "nodes": np.concatenate(nodes),
        "starts": starts,
        "others": others,
    }


def _entries(content: bytes) -> Iterator[tuple[str, str]]:
    """Words and, on the line after each, what belongs to it."""
    lines = iter(content.decode("utf-8").splitlines())
    return zip(lines, lines, strict=True)


def _blob(words: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(words).encode(), np.uint8)


def _lines(blob: NDArray[np.uint8]) -> list[str]:
    return bytes(blob).decode().split("\n")
