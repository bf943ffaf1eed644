import random

import pytest

from changecap.metrics.rouge import common, rouge


def plain(a, b):
    """The textbook table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_the_bitwise_subsequence_is_as_long_as_the_textbook_one():
    draw = random.Random(0)
    for _ in range(300):
        a, b = (draw.choices("abcde", k=draw.randrange(90)) for _ in range(2))
        assert common(a, b) == plain(a, b)


def test_precision_and_recall_may_come_from_two_references():
    # "a b" holds all of the first half of the words (recall 1), the long one holds all words (precision 1)
    assert rouge(["a b", "a x b y c z d w"], "a b c d") == 1
    assert rouge(["a b"], "a b c d") == pytest.approx(2.44 * 0.5 / (1 + 1.44 * 0.5))


def test_blanks_split_as_the_published_code_splits_them():
    assert rouge(["a b d"], "a b c") == pytest.approx(0.6667, abs=5e-5)
    assert rouge(["a b d "], "a b c ") == pytest.approx(0.75)
    assert rouge(["a b d"], "a b c ") == pytest.approx(0.5865, abs=5e-5)


def test_nothing_in_common_is_zero():
    assert rouge(["a b", "c"], "x y") == 0
    assert rouge(["a b"], "") == 0
