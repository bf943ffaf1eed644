import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changecap.errors import CheckpointError, DataError
from changecap.io import json_file
from changecap.io.json_file import read_json, read_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("json") / "x.json"


@settings(deadline=None)
@given(VALUES, st.booleans(), st.booleans())
def test_what_was_written_is_read(path, value, escaped, marked):
    path.write_text(json.dumps(value, ensure_ascii=escaped), encoding="utf-8-sig" if marked else "utf-8")
    assert read_json(path) == value


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text('{}[]:,"\\u0dE1. ', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_by_name(path, content):
    path.write_bytes(content)
    try:
        expected = json.loads(content.decode("utf-8-sig"))
    except ValueError:
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_json(path)
    else:
        assert repr(read_json(path)) == repr(expected)  # NaN is none of its equals


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.json is empty or broken JSON: Expecting value: line 1 column 1 .*; copy or download it anew"),
        (b'{"a": 1,\n}', r"x\.json is empty or broken JSON: .* line 2 column 1|line 1 column 8"),
        (b'"\xff"', r"x\.json is not UTF-8: invalid start byte at byte 1; save it as UTF-8"),
        (b"[" * 200_000, r"x\.json is nested too deeply"),
        (b'{"a": "\\ud83d b"}', r"x\.json holds half a character, '\\ud83d'"),
        (b"9" * 5000, r"x\.json is empty or broken JSON: .*digits"),
    ],
    ids=["empty", "broken", "not UTF-8", "deep", "half a character", "long number"],
)
def test_a_bad_file_says_what_is_wrong_and_where(path, content, message):
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_json(path)


def test_a_file_that_is_too_large_is_not_parsed(path, monkeypatch):
    monkeypatch.setattr(json_file, "MAX_BYTES", 4)
    path.write_text("1234")
    assert read_json(path) == 1234
    path.write_text("12345")
    with pytest.raises(DataError, match=r"x\.json has more than 4 bytes"):
        read_json(path)


def test_a_file_that_is_not_there_gets_the_words_of_those_who_asked(tmp_path):
    with pytest.raises(DataError, match=r"no x\.json in .*; is the path right\?"):
        read_json(tmp_path / "x.json")
    with pytest.raises(CheckpointError, match=r"^nothing$"):
        read_json(tmp_path / "x.json", "nothing", error=CheckpointError)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


def test_lines_are_read_but_for_a_torn_one(path):
    rows = [{"id": "a\u2028b\x85c"}, {"id": "2"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join([*lines, lines[0][:5]]), encoding="utf-8")
    assert list(read_lines(path)) == rows
