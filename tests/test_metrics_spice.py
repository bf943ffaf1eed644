import sys

import pytest

from changecap.errors import DataError
from changecap.metrics import spice

ANSWER = """
import json, sys
asked, answered = sys.argv[4], sys.argv[6]
question = json.load(open(asked, encoding="utf-8"))
def f(pair):
    if not pair["test"]:
        return float("nan")
    return max(len(set(pair["test"].split()) & set(r.split())) / len(set(r.split())) for r in pair["refs"])
answer = [{"image_id": p["image_id"], "scores": {"All": {"f": f(p)}}} for p in reversed(question)]
json.dump(answer, open(answered, "w", encoding="utf-8"))
"""
MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool's folder, and a function that makes a program the java on the PATH."""
    folder = tmp_path / "spice"
    (folder / "lib").mkdir(parents=True)
    for name in ("spice-1.0.jar", *(f"lib/{model}" for model in MODELS)):
        (folder / name).touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("CHANGECAP_SPICE", str(folder))

    def java(program, interpreter):
        path = tmp_path / "bin" / "java"
        path.write_text(f"#!{interpreter}\n{program}", "utf-8")
        path.chmod(0o755)
        return folder

    return java


@pytest.fixture
def works(tool):
    return tool(ANSWER, sys.executable)


def test_what_the_tool_answers_is_the_score_of_each_pair(works):
    got = spice.scores([["a b", "c"], ["a b c d"], ["x"]], ["a b", "b a", ""])
    assert got.tolist() == [1, 0.5, 0]  # no tuple, and so no number, counts 0


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("echo broken models >&2; exit 3", "ended with code 3: broken models"),
        ("exit 0", "no answer that can be read"),
        ('echo "[]" > "$6"', "answered for 0 of 1 pairs"),
        ("""echo '[{"image_id": 0, "scores": {"All": {"f": 0.25}}}]' > "$6\"""", "0.25 against itself"),
        ("""echo '[{"image_id": 0, "scores"' > "$6\"""", "no answer that can be read"),
        ("echo '3' > \"$6\"", "no answer that can be read"),
        ("kill -9 $$", "ended with code -9"),
    ],
)
def test_a_tool_that_fails_is_an_error_that_says_how(tool, program, message):
    tool(program, "/bin/sh")
    with pytest.raises(DataError, match=message):
        spice.scores([["a"]], ["a"])


def test_a_tool_that_hangs_is_stopped(tool):
    tool("exec sleep 60", "/bin/sh")
    with pytest.raises(DataError, match=r"more than 0\.5 seconds"):
        spice.scores([["a"]], ["a"], seconds=0.5)


def test_models_that_are_missing_are_named(works):
    (works / "lib" / MODELS[1]).unlink()
    with pytest.raises(DataError, match=MODELS[1]):
        spice.scores([["a"]], ["a"])


def test_a_tool_that_is_not_there_is_said(works, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no spice-1\.0\.jar in .*elsewhere"):
        spice.scores([["a"]], ["a"], place=tmp_path / "elsewhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no java"):
        spice.scores([["a"]], ["a"])
