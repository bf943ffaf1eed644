import numpy as np
import pytest
from tiny_bench import BUILT, SAME, captioner, folder, small

from changecap.metrics import score
from changecap.robustness.grid import HELD_OUT
from changecap.robustness.measurements import Outcome, Scorer
from changecap.robustness.tables import first_severities, maps_rows, measured, rows, scopes, summary
from preprocess.corruption import CORRUPTIONS

REFERENCES = {f"{i}.png": (BUILT if i < 3 else SAME) for i in range(6)}
CHANGED = {i: captions is BUILT for i, captions in REFERENCES.items()}


def dark(a, b):
    """Whether the later date has less light."""
    return [bool((y - x).mean() < -0.02) for x, y in zip(a, b, strict=True)]


def sees(a, b):
    """Says what is true of clean pairs, and that something is built wherever it is darker."""
    bright = [bool(y.max() > 0.85) for y in b]
    return [BUILT[0] if light or alarmed else SAME[0] for light, alarmed in zip(bright, dark(a, b), strict=True)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    grid = {"corruptions": "brightness,translation", "severities": (1, 3, 5), "variants": ("none", "illuminate")}
    tried = {"sees": [sees, sees], "same": lambda a, b: [SAME[0]] * len(a)}
    made = small(tried, folder(root / "data"), root / "out", **grid, pairs=6, clean_pairs=6, seed=5)
    made.fill(progress=False)
    return measured(made)


def row(table, **known):
    (one,) = (row for row in table if known.items() <= row.items())
    return one


def test_figures_of_a_cell_are_those_of_the_scorer():
    said = dict(zip(REFERENCES, [BUILT[1], SAME[0], "a house appears", SAME[1], BUILT[0], SAME[2]], strict=True))
    few = {i: said[i] for i in list(said)[1:5]}
    scorer = Scorer(REFERENCES, CHANGED)
    scorer(said)
    known = score({i: REFERENCES[i] for i in few}, few, {i: CHANGED[i] for i in few}, documents=REFERENCES)
    figures = {name: float(value) for name, value in scorer(few).figures().items()}
    meteor = known["corpus"]["METEOR"] or known["corpus"]["METEOR_exact_stem"]
    four = [known["corpus"][name] for name in ("Bleu_4", "ROUGE_L", "CIDEr")] + [meteor]
    assert figures["sm4"] == pytest.approx(np.mean(four))
    assert figures["cider_change"] == pytest.approx(known["subsets"]["change"]["CIDEr_full_df"])
    assert (figures["false_alarm"], figures["miss"]) == (0.5, 0.5)
    card = scorer(few).card()
    for name, value in card["overall"].items():
        assert value == pytest.approx(known["corpus"][name])
    assert card["description"]["CIDEr"] == pytest.approx(known["subsets"]["change"]["CIDEr_full_df"])
    assert card["flag"] == {"false_alarm": 0.5, "miss": 0.5, "balanced_accuracy": 0.5}


def test_an_outcome_survives_a_file():
    outcome = Scorer(REFERENCES, CHANGED)(dict.fromkeys(REFERENCES, BUILT[0]))
    again = Outcome.from_json(list(REFERENCES), outcome.to_json())
    times = np.array([[1, 0, 2, 1, 1, 1], [0, 1, 0, 0, 3, 0]], dtype=float)
    for name, values in outcome.figures(times).items():
        np.testing.assert_array_equal(again.figures(times)[name], values)
    assert again.first(2).changed.tolist() == [True, True]


def test_pairs_of_one_kind_leave_the_other_kind_s_figures_undefined():
    outcome = Scorer(REFERENCES, CHANGED)({i: SAME[0] for i in REFERENCES if CHANGED[i]})
    figures = outcome.figures()
    assert np.isnan(figures["false_alarm"])
    assert outcome.card()["flag"] == {"false_alarm": None, "miss": 1, "balanced_accuracy": None}
    assert figures["miss"] == 1


def test_there_is_a_row_for_every_condition_and_captioner(found):
    table = rows(found)
    assert len(table) == 2 * (1 + 2 * 3) * 2
    assert len({(r["captioner"], r["corruption"], r["severity"], r["variant"]) for r in table}) == len(table)
    clean = row(table, captioner="sees", corruption="clean", variant="none")
    assert (clean["false_alarm"], clean["miss"], clean["relative_sm4"]) == (0, 0, 1)
    worst = row(table, captioner="sees", corruption="brightness", severity=5, variant="none")
    assert worst["group"] == "light"
    assert worst["level"] == CORRUPTIONS["brightness"].levels[4]
    assert worst["false_alarm_low"] <= worst["false_alarm"] <= worst["false_alarm_high"]
    assert worst["relative_sm4"] == pytest.approx(worst["sm4"] / clean["sm4"])


def test_a_captioner_that_always_says_the_same_loses_nothing_and_misses_all(found):
    for r in rows(found):
        if r["captioner"] == "same":
            assert (r["relative_sm4"], r["miss"], r["false_alarm"], r["sm4_low"]) == (1, 1, 0, r["sm4_low"])


def test_the_summary_is_made_of_the_rows(found):
    table, said = rows(found), summary(found)
    light = row(said, captioner="sees", scope="light", severities="all", variant="none")
    three = [row(table, captioner="sees", corruption="brightness", severity=s, variant="none") for s in (1, 3, 5)]
    for name in ("relative_sm4", "relative_cider_change", "false_alarm", "miss"):
        assert light[name] == pytest.approx(np.mean([r[name] for r in three]))
    assert light["added_false_alarm"] == pytest.approx(light["false_alarm"])
    cured = row(said, captioner="sees", scope="light", severities="all", variant="illuminate")
    assert cured["gain"] == pytest.approx(cured["relative_sm4"] - light["relative_sm4"])
    is_sure = light["relative_sm4_high"] < 1
    assert cured["won_back"] == (pytest.approx(cured["gain"] / (1 - light["relative_sm4"])) if is_sure else None)
    clean = row(table, captioner="sees", corruption="clean", variant="illuminate")
    assert cured["cost"] == pytest.approx(1 - clean["relative_sm4"])
    assert cured["accepted"] is (cured["gain_low"] > 0 and cured["cost"] < 0.005)


def test_seeds_that_say_the_same_have_no_spread_and_the_first_is_the_reference(found):
    assert found.reference == "sees"
    core = row(summary(found), captioner="sees", scope="core", severities="all", variant="none")
    assert core["relative_sm4_sd"] == 0
    assert core["mce"] == pytest.approx(1)
    assert core["mce_left_out"] == ["translation"]  # which costs it nothing


def test_the_reference_is_rsiccformer_where_it_is_there(tmp_path):
    tried = {"first": captioner(name="psnet"), "second": captioner(), "third": captioner(1)}
    made = small(tried, folder(tmp_path / "data"), tmp_path / "out")
    made.fill(progress=False)
    assert measured(made).reference == "second"


def test_a_dark_picture_raises_an_alarm_at_the_first_severity_that_suffices(found):
    table = rows(found)
    rates = {
        s: row(table, captioner="sees", corruption="brightness", severity=s, variant="none")["false_alarm"]
        for s in (1, 3, 5)
    }
    assert max(rates.values()) > 0
    first = row(first_severities(found), captioner="sees", corruption="brightness", variant="none")["first_severity"]
    assert first == min(s for s, rate in rates.items() if rate >= 0.05)
    assert (
        row(first_severities(found), captioner="same", corruption="brightness", variant="none")["first_severity"]
        is None
    )


def test_held_out_corruptions_are_no_part_of_the_core():
    found = scopes(["gamma", "clouds"])
    assert found == {
        "core": ["gamma"],
        "light": ["gamma"],
        HELD_OUT: ["clouds"],
        "gamma": ["gamma"],
        "clouds": ["clouds"],
    }


def test_captioners_of_maps_have_a_table_of_their_own(tmp_path):
    made = small(
        {"maps": captioner(inputs="both"), "rgb": captioner()}, folder(tmp_path / "data", maps=True), tmp_path / "out"
    )
    made.fill(progress=False)
    table = measured(made)
    assert [(r["captioner"], r["maps"]) for r in maps_rows(table)] == [
        ("maps", kind) for kind in ("true", "absent", "corrupted", "another")
    ]
    assert {r["captioner"] for r in rows(table)} == {"rgb"}
