import numpy as np
import pytest

from changecap.robustness.figures_of_merit import (
    COST,
    Estimate,
    corruption_error,
    cost,
    estimate,
    first_severity,
    gain,
    is_accepted,
    mce,
    mean,
    relative,
    surely_loses,
    times,
    won_back,
)


def draws(*values):
    return np.array(values, dtype=float)


def test_a_resample_holds_as_many_of_each_kind_and_the_set_itself_comes_first():
    changed = np.array([True, True, False, False, False])
    counted = times(changed, 20)
    assert counted.shape == (21, 5)
    assert (counted[0] == 1).all()
    assert (counted[:, changed].sum(1) == 2).all()
    assert (counted[:, ~changed].sum(1) == 3).all()


def test_an_estimate_is_the_mean_of_the_seeds_with_the_interval_of_their_mean():
    low, high = np.linspace(0, 1, 1001), np.linspace(1, 2, 1001)
    found = estimate([draws(0.4, *low), draws(1.6, *high)])
    assert found == pytest.approx(Estimate(1.0, 0.525, 1.475, 0.6 * 2**0.5, 2))


def test_one_seed_has_no_spread_and_what_is_not_defined_no_estimate():
    assert estimate([draws(0.5, 0.5, 0.5)]) == Estimate(0.5, 0.5, 0.5, 0.0, 1)
    assert estimate([draws(0.5, 0.5), draws(np.nan, 0.5)]) is None
    assert estimate([draws(0.5, 0.1, np.nan)]) == Estimate(0.5, 0.1, 0.1, 0.0, 1)


def test_a_relative_score_is_a_share_of_the_clean_one_and_undefined_where_that_is_0():
    np.testing.assert_array_equal(relative(draws(0.5, 0.3), draws(2.0, 0.0)), draws(0.25, np.nan))


def test_the_mean_counts_conditions_alike():
    np.testing.assert_allclose(mean([draws(1.0, 0.0), draws(0.5, 1.0)]), draws(0.75, 0.5))


@pytest.mark.parametrize(
    ("clean", "rates", "at"),
    [
        (0.1, {1: 0.11, 2: 0.199, 3: 0.2, 4: 0.5}, 3),  # twice
        (0.02, {1: 0.04, 2: 0.069, 3: 0.07}, 3),  # 0.05 more
        (0.0, {5: 0.06, 2: 0.05}, 2),
        (0.05, {1: 0.1}, 1),
        (0.1, {1: 0.0, 5: 0.19}, None),
    ],
)
def test_false_alarms_are_too_many_from_twice_the_clean_rate_and_5_per_cent_more_on(clean, rates, at):
    assert first_severity(clean, rates) == at


def test_the_error_of_a_corruption_is_what_is_lost_of_what_the_reference_loses():
    ours, reference = [draws(0.9), draws(0.7)], [draws(0.8), draws(0.6)]
    np.testing.assert_allclose(corruption_error(ours, reference), draws(0.4 / 0.6))
    assert np.isnan(corruption_error(ours, [draws(1.0), draws(1.1)])[0])


def test_mce_is_1_for_the_reference_and_leaves_out_what_costs_it_nothing():
    reference = {"blur": [draws(0.8), draws(0.6)], "shift": [draws(0.5), draws(0.5)], "light": [draws(1.0), draws(1.0)]}
    ours = {"blur": [draws(0.9), draws(0.8)], "shift": [draws(0.25), draws(0.25)], "light": [draws(0.2), draws(0.2)]}
    for system, value in ((reference, 1.0), (ours, (0.3 / 0.6 + 1.5 / 1.0) / 2)):
        error, left_out = mce(system, reference)
        np.testing.assert_allclose(error, draws(value))
        assert left_out == ["light"]
    nothing, left_out = mce({"light": ours["light"]}, reference)
    assert np.isnan(nothing[0])
    assert left_out == ["light"]


def test_a_loss_is_sure_iff_its_interval_is_above_nothing():
    assert surely_loses([draws(0.8, 0.7, 0.9), draws(0.9, 0.9, 0.9)])
    assert not surely_loses([draws(0.9, *[0.8] * 19, 1.1, 1.1)])
    assert not surely_loses([draws(1.0, 1.0)])
    unsure = {"blur": [draws(0.9, 0.5, 1.1)], "shift": [draws(0.5, 0.5, 0.5)]}
    error, left_out = mce({"blur": [draws(0.5, 0.5, 0.5)], "shift": [draws(0.75, 0.75, 0.75)]}, unsure)
    np.testing.assert_allclose(error, draws(0.5, 0.5, 0.5))
    assert left_out == ["blur"]


def test_a_variant_gains_what_it_raises_the_mean_by_and_wins_back_a_share_of_the_loss():
    cured, uncured = [draws(0.9), draws(0.7)], [draws(0.8), draws(0.4)]
    np.testing.assert_allclose(gain(cured, uncured), draws(0.2))
    np.testing.assert_allclose(won_back(cured, uncured), draws(0.5))
    assert np.isnan(won_back(cured, [draws(1.0), draws(1.0)])[0])


def test_a_cure_costs_the_share_that_it_takes_from_clean_pairs():
    np.testing.assert_allclose(cost(draws(0.99), draws(1.1)), draws(0.1))


@pytest.mark.parametrize(
    ("low", "costs", "accepted"),
    [
        (0.001, 0.0049, True),
        (0.001, -0.02, True),
        (0.0, 0.0, False),
        (-0.01, 0.0, False),
        (0.001, COST, False),
    ],
)
def test_a_variant_is_accepted_iff_it_surely_gains_and_hardly_costs(low, costs, accepted):
    assert is_accepted(Estimate(0.1, low, 0.2, 0.0, 1), Estimate(costs, -1, 1, 0.0, 1)) is accepted


def test_what_nobody_knows_is_not_accepted():
    known = Estimate(0.1, 0.05, 0.2, 0.0, 1)
    assert not is_accepted(None, known)
    assert not is_accepted(known, None)
