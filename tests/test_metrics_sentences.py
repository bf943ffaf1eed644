import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changecap.errors import DataError
from changecap.metrics.sentences import all_hypotheses, all_references, in_ids, pair

NOTES = st.fixed_dictionaries({"image_id": st.text(max_size=1) | st.integers(0, 3)}, optional={"caption": st.text()})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | NOTES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
COCO = {
    "images": [{"id": 1, "file_name": "x.png"}, {"id": 2}],
    "annotations": [
        {"id": 10, "image_id": 1, "caption": "a house"},
        {"id": 11, "image_id": 1, "caption": "a building"},
    ],
}


@pytest.mark.parametrize(
    "value",
    [
        {"p": ["a b", "c"], "q": ["d "]},
        {"p": ("a b", "c"), "q": ("d ",)},
        {"p": [{"caption": "a b"}, {"caption": "c"}], "q": [{"caption": "d "}]},
        {"annotations": [{"image_id": i, "caption": c} for i, c in (("p", "a b"), ("q", "d "), ("p", "c"))]},
        [{"image_id": i, "caption": c} for i, c in (("p", "a b"), ("p", "c"), ("q", "d "))],
    ],
)
def test_every_form_of_references_holds_the_same_sentences(value):
    assert all_references(value) == {"p": ["a b", "c"], "q": ["d "]}


@pytest.mark.parametrize(
    "value",
    [
        {"p": "a b", "q": " c"},
        {"p": ["a b"], "q": [" c"]},
        {"p": [{"image_id": "p", "caption": "a b"}], "q": {"caption": " c"}},
        [{"image_id": "p", "caption": "a b"}, {"image_id": "q", "caption": " c"}],
        {"annotations": [{"image_id": "p", "caption": "a b"}, {"image_id": "q", "caption": " c"}]},
    ],
)
def test_every_form_of_hypotheses_holds_the_same_sentences(value):
    assert all_hypotheses(value) == {"p": "a b", "q": " c"}


def test_an_image_without_annotations_is_an_id_without_references():
    assert all_references(COCO) == {"1": ["a house", "a building"], "2": []}
    assert pair(COCO, [{"image_id": 1, "caption": "a house"}]).amiss["without_references"] == ["2"]


def test_an_id_called_annotations_is_an_id():
    assert all_references({"annotations": ["a b"]}) == {"annotations": ["a b"]}


def test_a_number_and_the_text_of_it_are_one_id():
    pairs = pair({"7": ["a"], 8: ["b"]}, [{"image_id": 7, "caption": "a"}, {"image_id": "8", "caption": "b"}])
    assert pairs.hypotheses == {"7": "a", "8": "b"}
    assert pairs.notes == []


def test_sentences_are_left_as_they_are():
    odd = "  A  B\t\U0001f3e0 e\u0301 "
    pairs = pair({"p": [odd]}, {"p": odd})
    assert (pairs.references, pairs.hypotheses) == ({"p": [odd]}, {"p": odd})


def test_every_kind_of_mismatch_is_counted_and_named():
    pairs = pair({"a": ["x"], "b": [], "c": ["x"]}, {"a": " ", "b": "x", **{f"z{i}": "x" for i in range(6)}})
    assert pairs.counts == {
        "pairs": 9,
        "missing_hypotheses": 1,
        "extra_ids": 6,
        "without_references": 1,
        "empty_hypotheses": 1,
    }
    assert pairs.notes[1] == (
        "6 ids in the hypotheses only, scored as without references: 'z0', 'z1', 'z2', 'z3', 'z4', ..."
    )
    assert list(pairs.references) == list(pairs.hypotheses) == ["a", "b", "c", *(f"z{i}" for i in range(6))]


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({}, "nothing to score: references are empty"),
        ([], "nothing to score: references are empty"),
        ("a b", r"references must be {id: sentences} or COCO's annotations, .* got str 'a b'"),
        ([["a"]], r"references must be {id: sentences} or .* got list \[\['a'\]\]"),
        ({"p": "a b"}, "references must be a list of sentences, got 'a b' for 'p'"),
        ({"p": ["a", 3]}, r"references must be a list of sentences, got \['a', 3\] for 'p'"),
        ({"p": [{"text": "a"}]}, "references must be a list of sentences, .* for 'p'"),
        ({"p": [["a b", "c"]]}, r"nested one level too deep, got \[\['a b', 'c'\]\] for 'p'"),
        ({1: ["a"], "1": ["b"]}, "the id '1' stands twice in the references"),
        ({True: ["a"]}, "an id must be text or a whole number, got True in the references"),
        ([{"image_id": 1.5, "caption": "a"}], "an id must be text or a whole number, got 1.5"),
        ([{"image_id": 1, "captions": "a"}], "references must be a list of sentences, .* for '1'"),
        ({"annotations": [{"image_id": 1, "caption": "a"}], "images": [1]}, r"images of references .* got \[1\]"),
    ],
)
def test_references_that_make_no_sense_are_named(references, message):
    with pytest.raises(DataError, match=message):
        pair(references, {"p": "a"})


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [
        ({"p": 3}, "a hypothesis must be one sentence, got 3 for 'p'"),
        ({"p": None}, "a hypothesis must be one sentence, got None for 'p'"),
        ({"p": []}, r"a hypothesis must be one sentence, got \[\] for 'p'"),
        ({"p": ["a", "b"]}, r"a hypothesis must be one sentence, got \['a', 'b'\] for 'p'"),
        ({"p": [["a"]]}, r"a hypothesis must be one sentence, got \[\['a'\]\] for 'p'"),
        ([{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}], "one sentence, got .* for '1'"),
        (None, "hypotheses must be {id: sentences} or .* got NoneType"),
    ],
)
def test_hypotheses_that_make_no_sense_are_named(hypotheses, message):
    with pytest.raises(DataError, match=message):
        pair({"p": ["a"]}, hypotheses)


@settings(deadline=None)
@given(VALUES | st.dictionaries(st.text(max_size=2), VALUES) | st.fixed_dictionaries({"annotations": VALUES}), VALUES)
def test_any_value_is_paired_or_refused_by_what_it_is(references, hypotheses):
    try:
        pairs = pair(references, hypotheses)
    except DataError:
        return
    assert list(pairs.references) == list(pairs.hypotheses)
    assert pairs.references
    everything = [*pairs.hypotheses.values(), *(s for several in pairs.references.values() for s in several)]
    assert all(isinstance(sentence, str) for sentence in everything)


def test_a_sentence_in_ids_has_one_blank_between_and_one_id_for_all_unknown_words():
    assert in_ids({"<unk>": 1, "a": 5, "1": 7})(" a  b\t1 A") == "5 1 7 1"
    assert in_ids({"<UNK>": 3})("") == ""
