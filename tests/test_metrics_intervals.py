import numpy as np
import pytest

from changecap.metrics.intervals import Difference, differences, intervals, mean, resample, spread

PAIRS = 120
STRATA = np.arange(PAIRS) % 2 == 0


def averages(values):
    """The mean of a value per pair, and of the changed pairs alone."""

    def totals(times):
        half = times * STRATA[: len(values)]
        return {"all": times @ values / times.sum(-1), "change": half @ values / half.sum(-1)}

    return totals


def test_a_resample_holds_as_many_changed_and_unchanged_pairs_as_the_set():
    strata = np.array([True, False, False, True, True])
    times = np.concatenate(list(resample(strata, 50)))
    assert times.shape == (50, 5)
    assert (times[:, strata].sum(1) == 3).all()
    assert (times[:, ~strata].sum(1) == 2).all()
    assert len(np.unique(times, axis=0)) > 10


def test_every_pair_is_drawn_once_on_average():
    times = np.concatenate(list(resample(STRATA, 1000)))
    assert times.mean(0) == pytest.approx(np.ones(PAIRS), abs=0.15)
    assert times.var() == pytest.approx(1, abs=0.05)  # Poisson in the limit


def test_blocks_join_to_the_count_that_was_asked_for(monkeypatch):
    monkeypatch.setattr("changecap.metrics.intervals._CELLS", 7 * PAIRS)
    blocks = list(resample(STRATA, 20))
    assert [len(block) for block in blocks] == [7, 7, 6]
    found = intervals(averages(np.arange(PAIRS)), STRATA, 20)
    assert found["all"].low < (PAIRS - 1) / 2 < found["all"].high


def test_intervals_cover_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        values = draw.exponential(size=PAIRS)  # skewed, of mean 1
        low, high = intervals(averages(values), STRATA, 300, seed=trial)["all"]
        hits += low <= 1 <= high
    assert 0.91 <= hits / 300 <= 0.98


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(size=PAIRS)
    low, high = intervals(averages(values), STRATA)["all"]
    error = np.sqrt((values[STRATA].var() + values[~STRATA].var()) / 2 / PAIRS)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.2 * error)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    totals = averages(np.random.default_rng(1).normal(size=PAIRS))
    assert intervals(totals, STRATA, seed=3) == intervals(totals, STRATA, seed=3) != intervals(totals, STRATA, seed=4)


def test_a_figure_that_never_varies_has_an_interval_of_no_width():
    assert intervals(averages(np.full(PAIRS, 0.5)), STRATA)["all"] == pytest.approx((0.5, 0.5))


def test_a_figure_that_is_undefined_everywhere_has_no_interval_and_elsewhere_its_defined_resamples_count():
    def totals(times):
        return {"never": times[..., 0] * np.nan, "often": np.where(times[..., 0] > 0, times[..., 0], np.nan)}

    found = intervals(totals, STRATA)
    assert found["never"] is None
    assert found["often"].low == 1
    assert differences(totals, totals, STRATA)["never"] is None


def test_a_shifted_system_is_found():
    draw = np.random.default_rng(2)
    hard = draw.normal(size=PAIRS)  # for both
    ours, theirs = (averages(hard + draw.normal(size=PAIRS) * 0.1 + shift) for shift in (0.1, 0.0))
    found = differences(ours, theirs, STRATA)["all"]
    assert found.p < 0.01
    assert 0.05 < found.low < found.value < found.high < 0.15


def test_p_is_uniform_where_both_systems_are_alike():
    draw = np.random.default_rng(3)
    ps = []
    for trial in range(300):
        hard = draw.normal(size=PAIRS)
        ours, theirs = (averages(hard + draw.normal(size=PAIRS)) for _ in range(2))
        ps.append(differences(ours, theirs, STRATA, 200, seed=trial)["all"].p)
    shares = np.histogram(ps, bins=5, range=(0, 1))[0] / len(ps)
    assert shares == pytest.approx(np.full(5, 0.2), abs=0.07)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_the_test_is_symmetric():
    draw = np.random.default_rng(4)
    ours, theirs = (averages(draw.normal(size=PAIRS)) for _ in range(2))
    there, back = differences(ours, theirs, STRATA)["change"], differences(theirs, ours, STRATA)["change"]
    assert there.p == back.p
    assert there[:3] == pytest.approx((-back.value, -back.high, -back.low))


def test_a_system_does_not_differ_from_itself():
    totals = averages(np.random.default_rng(5).normal(size=PAIRS))
    assert differences(totals, totals, STRATA)["all"] == Difference(0, 0, 0, 1)


def test_p_is_never_zero_however_far_apart_they_are():
    found = differences(averages(np.ones(PAIRS)), averages(np.zeros(PAIRS)), STRATA, 99)["all"]
    assert found.p == pytest.approx(0.01)


def test_only_figures_of_both_are_compared():
    def less(times):
        return {"all": times.sum(-1)}

    assert list(differences(averages(np.ones(PAIRS)), less, STRATA)) == ["all"]


def test_runs_of_one_configuration_have_a_mean_and_a_spread():
    assert spread([1.0, 2.0, 3.0]) == (2, 1, 3)
    assert spread([0.5]) == (0.5, 0, 1)
    both = mean([averages(np.ones(PAIRS)), averages(np.zeros(PAIRS))])
    assert both(np.ones(PAIRS))["all"] == 0.5
