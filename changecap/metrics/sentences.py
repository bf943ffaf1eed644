"""References and hypotheses in the forms that are about, brought to one; and what becomes of ids that do not match.

Sentences stay as they are. Forms: ``{id: [sentence, ...]}`` and ``{id: sentence}``; what pycocoevalcap takes and the
authors' repositories write (``*_gts.json``, ``*_res.json``): ``{id: [sentence]}`` or ``{id: [{"caption": sentence}]}``;
COCO's ``{"images": [{"id"}], "annotations": [{"image_id", "caption"}]}`` and its list of results.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..io.json_file import read_json

_RULES = {
    "missing_hypotheses": "without a hypothesis, scored as an empty sentence",
    "extra_ids": "in the hypotheses only, scored as without references",
    "without_references": "without references, scored 0 and counted in the means, no document of CIDEr",
    "empty_hypotheses": "whose hypothesis has no word, scored as it is",
}


@dataclass(frozen=True)
class Pairs:
    """What is scored: every id that has references or a hypothesis, in that order."""

    references: dict[str, list[str]]  # maybe none
    hypotheses: dict[str, str]  # for the same ids
    amiss: dict[str, list[str]]  # ids by what is amiss with them, the keys of _RULES

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs there are and how many have what amiss."""
        return {"pairs": len(self.references)} | {name: len(ids) for name, ids in self.amiss.items()}

    @property
    def notes(self) -> list[str]:
        """What is amiss and how it is scored, a line for each kind."""
        return [f"{_counted(ids)} {_RULES[name]}: {some(ids)}" for name, ids in self.amiss.items() if ids]

    def refuse(self) -> None:
        """Take no ids that do not match.

        Raises:
            DataError: A hypothesis or references are missing.
        """
        for name, ids in self.amiss.items():
            if ids and name != "empty_hypotheses":
                what = f"{_counted(ids)} {_RULES[name].split(',')[0]}: {some(ids)}"
                raise DataError(f"hypotheses and references must have the same ids, but {what}")

    def map(self, change: Callable[[str], str]) -> "Pairs":
        """The same pairs with every sentence changed."""
        references = {i: [change(sentence) for sentence in several] for i, several in self.references.items()}
        return replace(self, references=references, hypotheses={i: change(s) for i, s in self.hypotheses.items()})


def read_sentences(path: Path) -> Any:
    """What a JSON file of sentences holds, in any of the forms; no id may stand there twice.

    Raises:
        DataError: The file is missing, is not UTF-8 or JSON, or has an id twice.
    """
    absent = f"no file {path}; give the path of a JSON file with the sentences of each pair"
    return read_json(path, absent, "give a JSON object with one entry for each pair", hook=_once)


def _once(items: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse an id that stands twice in a JSON object, where Python would silently keep the last."""
    value = dict(items)
    if len(value) < len(items):
        keys = [key for key, _ in items]
        raise DataError(f"the id {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return value


def pair(references: object, hypotheses: object) -> Pairs:
    """Bring references and hypotheses together by id; an id may be a number in one and a string in the other.

    Nothing is dropped: a hypothesis that is missing is an empty sentence, a pair without references stays (`measure`
    says how it is scored). Both are counted and noted, and so are empty hypotheses.

    Raises:
        DataError: A value is in none of the known forms, an id comes twice, or there are no references at all.
    """
    theirs, ours = all_references(references), all_hypotheses(hypotheses)
    if not theirs:
        raise DataError("nothing to score: references are empty; give at least one id with its sentences")
    together = theirs | {i: [] for i in ours if i not in theirs}
    amiss = {
        "missing_hypotheses": [i for i in theirs if i not in ours],
        "extra_ids": [i for i in ours if i not in theirs],
        "without_references": [i for i, sentences in theirs.items() if not sentences],
        "empty_hypotheses": [i for i, sentence in ours.items() if not sentence.split()],
    }
    return Pairs(together, {i: ours.get(i, "") for i in together}, amiss)


def some(ids: Sequence[str]) -> str:
    """The first few ids, as a message shows them."""
    return ", ".join(map(repr, ids[:5])) + (", ..." if len(ids) > 5 else "")


def all_references(value: object) -> dict[str, list[str]]:
    """References of each id out of any of the forms.

    Raises:
        DataError: It is none of them, or an id comes twice.
    """
    return {i: _several(content, i) for i, content in _unique(_entries(value, "references"), "references").items()}


def all_hypotheses(value: object) -> dict[str, str]:
    """The hypothesis of each id out of any of the forms.

    Raises:
        DataError: It is none of them, or an id comes twice or has several sentences.
    """
    found = {}
    for i, content in _unique(_entries(value, "hypotheses"), "hypotheses").items():
        alone = content[0] if isinstance(content, list | tuple) and len(content) == 1 else content
        sentence = alone.get("caption") if isinstance(alone, Mapping) else alone
        if not isinstance(sentence, str):
            raise DataError(f"a hypothesis must be one sentence, got {content!r:.80} for {i!r}")
        found[i] = sentence
    return found


def unique_ids(value: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """``value`` with its ids as text.

    Raises:
        DataError: An id is no text and no whole number, or two are the same as text.
    """
    return _unique(value.items(), name)


def in_ids(vocabulary: Mapping[str, int]) -> Callable[[str], str]:
    """What turns a sentence into the ids of its words, blanks between, as the authors' repositories score it.

    Args:
        vocabulary: Id of each word; a word that is not there has that of ``<UNK>`` or ``<unk>``.

    Raises:
        DataError: The vocabulary has no id for unknown words.
    """
    unknown = vocabulary.get("<UNK>", vocabulary.get("<unk>"))
    if unknown is None:
        raise DataError(f"the vocabulary of {len(vocabulary)} words has no <UNK>, which stands for all others")
    return lambda sentence: " ".join(str(vocabulary.get(word, unknown)) for word in sentence.split())


def _counted(ids: Sequence[str]) -> str:
    return f"{len(ids)} {'id' if len(ids) == 1 else 'ids'}"


def _entries(value: object, name: str) -> Iterator[tuple[object, Any]]:
    """Ids and their content; annotations of one id are gathered."""
    notes = value.get("annotations") if isinstance(value, Mapping) else value
    if isinstance(notes, list | tuple) and all(isinstance(note, Mapping) and "image_id" in note for note in notes):
        images = value.get("images", []) if isinstance(value, Mapping) else []
        if not isinstance(images, list | tuple) or not all(isinstance(x, Mapping) and "id" in x for x in images):
            raise DataError(f'images of {name} must be a list of objects with an "id", got {images!r:.80}')
        gathered: dict[str, list[Any]] = {}
        for image in images:
            gathered.setdefault(_id(image["id"], name), [])
        for note in notes:
            gathered.setdefault(_id(note["image_id"], name), []).append(note)
        yield from ((i, content) for i, content in gathered.items() if content or name == "references")
    elif isinstance(value, Mapping):
        yield from value.items()
    else:
        forms = "{id: sentences} or COCO's annotations, each with an image_id"
        raise DataError(f"{name} must be {forms}, got {type(value).__name__} {value!r:.80}")


def _several(content: object, i: str) -> list[str]:
    """The sentences of ``content``, maybe none."""
    if not isinstance(content, list | tuple):
        raise DataError(f"references must be a list of sentences, got {content!r:.80} for {i!r}")
    sentences: list[Any] = [item.get("caption") if isinstance(item, Mapping) else item for item in content]
    if any(isinstance(sentence, list | tuple) for sentence in sentences):
        raise DataError(f"references are nested one level too deep, got {content!r:.80} for {i!r}; give [sentence]")
    if not all(isinstance(sentence, str) for sentence in sentences):
        raise DataError(f"references must be a list of sentences, got {content!r:.80} for {i!r}")
    return sentences


def _unique(items: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, content in items:
        if (i := _id(key, name)) in found:
            raise DataError(f"the id {i!r} stands twice in the {name}, as a number and as text")
        found[i] = content
    return found


def _id(key: object, name: str) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise DataError(f"an id must be text or a whole number, got {key!r} in the {name}")
    return str(key)
