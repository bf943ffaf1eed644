"""The English Snowball stemmer ("Porter 2", Porter 2001), in the version METEOR 1.5 was built with.

NLTK has one too, but it keeps the "e" of some words in "-ization" and "-ational", and takes a second to import.
"""

import re

_VOWEL = "aeiouy"
_DOUBLE = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")
_IRREGULAR = {
    "skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl",
    "ugly": "ugli", "early": "earli", "only": "onli", "singly": "singl",
    **dict.fromkeys(("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")),
}  # fmt: skip
_INVARIANT = {"inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"}  # after step 1a
_REGION = re.compile(f".*?[{_VOWEL}][^{_VOWEL}]")  # another one begins after it
_BEGINNING = re.compile(f"gener|commun|arsen|{_REGION.pattern}")
_CONSONANT_Y = re.compile(f"(?<=[{_VOWEL}])y|^y")
_POSSESSIVE = re.compile("(?:'s'|'s|')$")
_HAS_VOWEL = re.compile(f"[{_VOWEL}]")
_SHORT = re.compile(f"(?:.*[^{_VOWEL}][{_VOWEL}][^{_VOWEL}wxY]|[{_VOWEL}][^{_VOWEL}])$")
_STEP_2 = {
    "ization": "ize", "ational": "ate", "fulness": "ful", "ousness": "ous", "iveness": "ive", "tional": "tion",
    "biliti": "ble", "lessli": "less", "entli": "ent", "ation": "ate", "alism": "al", "aliti": "al", "ousli": "ous",
    "iviti": "ive", "fulli": "ful", "enci": "ence", "anci": "ance", "abli": "able", "izer": "ize", "ator": "ate",
    "alli": "al", "bli": "ble", "ogi": "og", "li": "",
}  # fmt: skip
_STEP_3 = {
    "ational": "ate", "tional": "tion", "alize": "al", "icate": "ic", "iciti": "ic", "ative": "", "ical": "ic",
    "ness": "", "ful": "",
}  # fmt: skip
_STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
    "al", "er", "ic",
)  # fmt: skip


def stem(word: str) -> str:
    """The stem of a lower-case ``word``."""
    if word in _IRREGULAR:
        return _IRREGULAR[word] or word
    if len(word) < 3:
        return word
    word = _CONSONANT_Y.sub("Y", word.removeprefix("'"))
    first = found.end() if (found := _BEGINNING.match(word)) else len(word)
    second = found.end() if (found := _REGION.match(word, first)) else len(word)

    word = _POSSESSIVE.sub("", word)
    word = _step_1a(word)
    if word in _INVARIANT:
        return word
    word = _step_1b(word, first)
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in _VOWEL:
        word = word[:-1] + "i"
    word = _replace(word, _STEP_2, first, first)
    word = _replace(word, _STEP_3, first, second)
    word = _replace(word, dict.fromkeys(_STEP_4, ""), second, second)
    long = len(word) > second
    if (word.endswith("ll") and long) or (
        word.endswith("e") and (long or (len(word) > first and not _SHORT.match(word[:-1])))
    ):
        word = word[:-1]
    return word.replace("Y", "y")


def _step_1a(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and _HAS_VOWEL.search(word[:-2]):
        return word[:-1]
    return word


def _step_1b(word: str, first: int) -> str:
    for ending in ("eedly", "eed"):
        if word.endswith(ending):
            return word[: -len(ending)] + "ee" if len(word) - len(ending) >= first else word
    for ending in ("ingly", "edly", "ing", "ed"):
        if word.endswith(ending):
            rest = word[: -len(ending)]
            if not _HAS_VOWEL.search(rest):
                return word
            if rest.endswith(("at", "bl", "iz")):
                return rest + "e"
            if rest.endswith(_DOUBLE):
                return rest[:-1]
            return rest + "e" if len(rest) <= first and _SHORT.match(rest) else rest
    return word


def _replace(word: str, endings: dict[str, str], region: int, deeper: int) -> str:
    """Replace the longest of ``endings`` where it lies in the region; some look at the letter before, or deeper."""
    for ending, replacement in endings.items():
        if word.endswith(ending):
            rest = word[: -len(ending)]
            before = {"li": "cdeghkmnrt", "ogi": "l", "ion": "st"}.get(ending)
            if len(rest) < (deeper if ending == "ative" else region) or (before and not rest.endswith(tuple(before))):
                return word
            return rest + replacement
    return word
