import json

import pytest

from changecap.data import ensure
from changecap.data.synthetic import PARAMETERS, parameters_of
from changecap.errors import ConfigError, DataError

NUMBERS = {"pairs": 12, "size": 32, "seed": 3, "val": 2, "test": 2}


@pytest.fixture
def written(monkeypatch):
    """Arguments of each call that would have simulated."""
    calls = []
    monkeypatch.setattr("changecap.data.synthetic.write", lambda root, **numbers: calls.append((root, numbers)))
    return calls


@pytest.mark.parametrize("exists", [False, True])
def test_an_absent_or_empty_folder_is_filled_with_the_numbers_asked_for(tmp_path, written, exists):
    root = tmp_path / "synth"
    if exists:
        root.mkdir()
    ensure({"name": "second_cc", "root": str(root), "synth": NUMBERS}, progress=False)
    assert written == [(root, {**NUMBERS, "progress": False})]


@pytest.mark.parametrize("synth", [{}, {"synth": None}])
def test_data_that_are_not_simulated_are_let_alone(tmp_path, written, synth):
    ensure({"name": "second_cc", "root": str(tmp_path / "absent"), **synth})
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_the_same_numbers_is_taken_as_it_is(tmp_path, written):
    (tmp_path / PARAMETERS).write_text(json.dumps(parameters_of(**NUMBERS)))
    ensure({"root": str(tmp_path), "synth": NUMBERS})
    assert written == []


@pytest.mark.parametrize("key", [*NUMBERS, "version"])
def test_a_folder_simulated_with_other_numbers_is_refused(tmp_path, written, key):
    found = parameters_of(**NUMBERS)
    (tmp_path / PARAMETERS).write_text(json.dumps({**found, key: found[key] + 1}))
    with pytest.raises(ConfigError, match=rf"'{key}': {found[key] + 1}.*'{key}': {found[key]}.*another data.root"):
        ensure({"root": str(tmp_path), "synth": NUMBERS})
    assert written == []


@pytest.mark.parametrize("name", ["", "notes.txt"])
def test_a_place_that_holds_something_else_is_refused(tmp_path, written, name):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"was not simulated, it has no SYNTH\.json; read it with data=second_cc"):
        ensure({"root": str(tmp_path / name), "synth": NUMBERS})
    assert written == []


def test_a_broken_record_is_named(tmp_path, written):
    (tmp_path / PARAMETERS).write_text("{")
    with pytest.raises(DataError, match=r"SYNTH\.json is empty or broken JSON: .*; remove .* will be simulated anew"):
        ensure({"root": str(tmp_path), "synth": NUMBERS})
    assert written == []
