"""SPICE by a tool that may not be there: a script in place of Java."""

import json
import sys

import pytest

from changecap.errors import DataError
from changecap.metrics import score, spice

# scores a pair by whether the hypothesis is among the references, as the real tool writes it
WORKS = """
import json, sys
pairs = json.load(open(sys.argv[4]))
found = [{"image_id": p["image_id"], "scores": {"All": {"f": float(p["test"] in p["refs"])}}} for p in pairs]
json.dump(found, open(sys.argv[sys.argv.index("-out") + 1], "w"))
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A folder of the tool, and a function that says what running it does."""
    jar = tmp_path / "spice" / "spice-1.0.jar"
    for file in (jar, *(jar.parent / "lib" / f"stanford-corenlp-3.6.0{end}.jar" for end in ("", "-models"))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def does(program):
        java = tmp_path / "bin" / "java"
        java.parent.mkdir(exist_ok=True)
        java.write_text(f"#!{sys.executable}\n{program}")
        java.chmod(0o755)
        monkeypatch.setenv("PATH", str(java.parent))
        return jar

    return does


def test_the_values_are_those_that_the_tool_writes_and_a_pair_without_references_has_none(tool):
    values = spice.scores([["a house"], [], ["a road"]], ["a house", "a house", "a lake"], tool(WORKS))
    assert values.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('InaccessibleObjectException: not with this Java')", "status 1: InaccessibleObject"),
        ("pass", "did not write what it was asked for"),
        ("import sys; open(sys.argv[sys.argv.index('-out') + 1], 'w').write('[{')", "did not write"),
        (WORKS.replace('"All"', '"Object"'), r"did not write what it was asked for: KeyError\('All'\)"),
    ],
)
def test_a_tool_that_does_not_do_its_work_is_a_reason(program, said, tool):
    with pytest.raises(DataError, match=said):
        spice.scores([["a house"]], ["a house"], tool(program))


def test_a_tool_that_does_not_end_is_stopped(tool, monkeypatch):
    monkeypatch.setattr(spice, "_START", 0.2)
    with pytest.raises(DataError, match="was stopped after 0 s for 1 pairs"):
        spice.scores([["a house"]], ["a house"], tool("import time; time.sleep(60)"))


def test_without_java_or_models_it_says_what_is_not_there(tool, tmp_path, monkeypatch):
    jar = tool(WORKS)
    (jar.parent / "lib" / "stanford-corenlp-3.6.0-models.jar").unlink()
    with pytest.raises(DataError, match=r"needs stanford-corenlp-3\.6\.0-models\.jar"):
        spice.scores([["a house"]], ["a house"], jar)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="needs Java"):
        spice.scores([["a house"]], ["a house"], jar)
    found = score({"1": ["a house"]}, {"1": "a house"})
    assert found["corpus"]["SPICE"] is None
    assert "Java" in found["computed"]["SPICE"]
    json.dumps(found, allow_nan=False)
