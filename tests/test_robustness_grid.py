import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changecap.errors import ConfigError
from changecap.robustness.grid import CLEAN, HELD_OUT, Condition, Setting, choose, described, grid_of, group_of, same_as
from preprocess.corruption import CORRUPTIONS, GROUPS

FLAGS = st.dictionaries(st.text(min_size=1, max_size=2), st.booleans(), min_size=1, max_size=20)


@given(FLAGS, st.integers(1, 50))
def test_as_many_pairs_are_chosen_as_asked_in_the_shares_of_the_data(changed, count):
    chosen = choose(changed, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(changed))
    share = sum(changed.values()) / len(changed)
    got = sum(changed[i] for i in chosen)
    assert abs(got - share * len(chosen)) <= 1


@given(FLAGS, st.integers(2, 50), st.integers(2, 50))
def test_few_pairs_are_among_many_and_both_kinds_are_there(changed, few, many):
    few, many = sorted((few, many))
    assert set(choose(changed, few)) <= set(choose(changed, many)) <= set(choose(changed, None))
    assert {changed[i] for i in choose(changed, few)} == set(changed.values())


def test_the_choice_does_not_depend_on_the_order_of_the_pairs():
    changed = {f"{i}.png": i % 3 == 0 for i in range(30)}
    assert choose(changed, 7) == choose(dict(reversed(changed.items())), 7)


def test_every_corruption_is_in_one_group():
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(CORRUPTIONS)
    assert set(GROUPS) == {"light", "sharpness", "geometry", HELD_OUT}
    assert group_of("gamma") == "light"
    assert group_of("viewpoint") == "geometry"
    assert group_of("motion_blur") == "sharpness"


def test_groups_and_names_mix_and_all_is_all():
    assert set(grid_of("geometry,gamma").corruptions) == {*GROUPS["geometry"], "gamma"}
    assert sorted(grid_of("all").corruptions) == sorted(CORRUPTIONS)
    assert grid_of("all").corruptions == tuple(name for names in GROUPS.values() for name in names)
    assert grid_of("gamma, gamma", severities=(3, 1, 3)).settings == [CLEAN, Setting("gamma", 1), Setting("gamma", 3)]


def test_none_is_always_among_the_variants():
    assert grid_of("gamma", variants=("register",)).variants == ("none", "register")


@pytest.mark.parametrize("undone", [True, False])
def test_a_clean_oracle_is_the_clean_pair(undone):
    assert same_as(Condition(CLEAN, "oracle"), undone) == Condition(CLEAN)
    assert same_as(Condition(CLEAN, "register"), undone) == Condition(CLEAN, "register")


def test_a_severity_has_its_level():
    assert described("translation", 4) == {"corruption": "translation", "level": 8, "unit": "px shift"}


def test_a_group_that_is_empty_is_refused(monkeypatch):
    monkeypatch.setattr(
        sys.modules["preprocess.corruption"], "GROUPS", {"light": ("gamma",), HELD_OUT: ()}, raising=False
    )
    with pytest.raises(ConfigError, match="there is no corruption in held_out; expected some of: "):
        grid_of("held_out")
