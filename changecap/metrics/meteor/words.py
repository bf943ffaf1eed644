"""Sentences as METEOR reads them: its English normalisation (option ``-norm``) and its function words.

Rules and lists are those of METEOR 1.5 (Denkowski & Lavie 2014), whose tokeniser descends from that of Moses; what
the distribution does to odd characters was measured, sentence by sentence, and is reproduced.
"""

import re
from collections.abc import Callable

_LETTER = (
    "a-zA-Z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017e"  # Latin, as far as METEOR takes it for letters
    "\u0400-\u0527\u1d00-\u1d7f\ua640-\ua66e\ua67e-\ua697"  # Cyrillic and phonetic ones
)
_BLANK = " \t\n\x0b\f\r"
_SPACE = "\xa0\u2000-\u200a\u202f\u205f\u3000"  # blanks of typography: they part words, yet are no blanks to the rules
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_CONTROLS = "".join(map(chr, range(33)))
_DOTS = "\x01"  # stands for a dot of "..." while single dots are looked at

# Order matters: each rule sees what those before it wrote, and a match takes its neighbours from the next one.
_BEFORE: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(f"([^{_LETTER}0-9{_BLANK}.'`,\\-])"), r" \1 "),
    (re.compile(r"\.\.+"), lambda m: " " + _DOTS * len(m[0]) + " "),
    (re.compile("([^0-9]),([^0-9])"), r"\1 , \2"),
    (re.compile("([0-9]),([^0-9])"), r"\1 , \2"),
    (re.compile("([^0-9]),([0-9])"), r"\1 , \2"),
    (re.compile("--"), "-"),
    (re.compile(f"([{_LETTER}0-9.])-([{_LETTER}0-9])"), r"\1 \2"),
    (re.compile("`"), "'"),
    (re.compile("''"), ' " '),
    (re.compile(f"([^{_LETTER}])'([^{_LETTER}])"), r"\1 ' \2"),
    (re.compile(f"([^{_LETTER}0-9])'([{_LETTER}])"), r"\1 ' \2"),
    (re.compile(f"([{_LETTER}])'([^{_LETTER}])"), r"\1 ' \2"),
    (re.compile(f"([{_LETTER}])'([{_LETTER}])"), r"\1 '\2"),
    (re.compile("([0-9])'(s)"), r"\1 '\2"),
]
_AFTER = [(re.compile(_DOTS), "."), (re.compile("\u2013"), "-"), (re.compile(f"[{_SPACE}]"), " ")]
_SPLIT = re.compile("[ \t\n\f\r]+")
_HAS_LETTER = re.compile(f"[{_LETTER}]")
_PLAIN = re.compile("[a-z0-9 ]*").fullmatch  # no rule touches such a sentence

# Words that keep their dot (nonbreaking prefixes of Moses), and those that keep it before a number only.
_PREFIXES = """
A B C D E F G H I J K L M N O P Q R S T U V W X Y Z Adj Adm Adv Asst Bart Bldg Brig Bros Capt Cmdr Col Comdr Con Corp
Cpl DR Dr Drs Ens Gen Gov Hon Hr Hosp Insp Lt MM MR MRS MS Maj Messrs Mlle Mme Mr Mrs Ms Msgr Op Ord Pfc Ph Prof Pvt Rep
Reps Res Rev Rt Sen Sens Sfc Sgt Sr St Supt Surg v vs rev Nos Nr
"""
_KEEP_DOT = frozenset(_PREFIXES.split())
_KEEP_DOT_BEFORE_NUMBER = frozenset({"No", "Art", "pp"})

# The most frequent words of English by METEOR's own list (function/english.words of METEOR 1.5).
_FREQUENT = """
the , . to of and a in that for " is on 's it with was as said at he by be from have has are his but an this not i will
\u2019 they ) -rrb- ( -lrb- who their had we which were been more or s its would about new one after you : also up when
there than $ all out her people she year two - can if last first \u201c over other \u201d into some what so -- no time
years could ? 't \u2014 '
"""
FUNCTION_WORDS = frozenset(_FREQUENT.split())


def normalise(sentence: str) -> tuple[str, ...]:
    """The lower-case words and punctuation marks of ``sentence``."""
    if _PLAIN(sentence):
        return tuple(sentence.split())
    text = f" {sentence.translate(_QUOTES)} "
    for pattern, replacement in _BEFORE:
        text = pattern.sub(replacement, text)
    text = " ".join(_part_dots(_words(text)))
    for pattern, replacement in _AFTER:
        text = pattern.sub(replacement, text)
    return tuple(_words(text.strip(_CONTROLS).lower()))


def _words(text: str) -> list[str]:
    return [word for word in _SPLIT.split(text) if word]


def _part_dots(words: list[str]) -> list[str]:
    """Part the dot that ends a sentence from its word; those of an abbreviation go ("U.S." is "US")."""
    parted = []
    for word, after in zip(words, [*words, ""][1:], strict=True):
        stem = word[:-1]
        if not word.endswith(".") or not stem:
            parted.append(word)
        elif "." in stem and _HAS_LETTER.search(stem):
            parted.append(word.replace(".", ""))
        elif (
            stem in _KEEP_DOT
            or "a" <= after[:1] <= "z"
            or (stem in _KEEP_DOT_BEFORE_NUMBER and "0" <= after[:1] <= "9")
        ):
            parted.append(word)
        else:
            parted += [stem, "."]
    return parted
