import errno
import hashlib
import json
from collections import Counter
from importlib import import_module

import numpy as np
import pytest
from skimage.measure import label

from changecap import data
from changecap.data.synthetic import PARAMETERS, render_pair, write
from changecap.data.synthetic.grammar import NO_CHANGE, captions
from changecap.data.synthetic.scene import BUILDING, PLAYGROUND, draw_scene
from changecap.errors import DataError
from changecap.evaluation.nearest_neighbour import nearest
from changecap.landcover import CLASSES
from changecap.language.facts import PLACES, parse
from changecap.metrics.facts import fact_scores

WRITING = import_module("changecap.data.synthetic.write")  # the name alone is the function
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng([5, i])) for i in range(400)]


@pytest.fixture(scope="module")
def pairs():
    """The first changed pairs of a data set, at 256 pixels."""
    drawn = (render_pair(3, i, 256) for i in range(60))
    return [pair for pair in drawn if pair[-1]]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("synth") / "data", 12, size=32, seed=4, workers=1, progress=False)


def read(root):
    return {split: data.load("second_cc", root, split) for split in SPLITS}


def digest(*parts):
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]


def facts_of(seed, index):
    return draw_scene(np.random.default_rng([seed, index])).facts


def plots(scene):
    return [plot for parcel in scene.parcels for plot in (parcel.before, parcel.after) if plot is not None]


# what is written


def test_the_reader_finds_every_pair_in_its_split(root):
    assert {split: len(read(root)[split]) for split in SPLITS} == {"train": 10, "val": 1, "test": 1}


def test_pixels_captions_and_facts_are_read_back_as_they_were_made(root):
    for dataset in read(root).values():
        for example, pair in zip(dataset.examples, map(dataset.__getitem__, range(len(dataset))), strict=True):
            *pictures, facts = render_pair(4, int(example.id[:-4]), 32)
            for tensor, picture in zip(
                (pair.a.permute(1, 2, 0), pair.b.permute(1, 2, 0), *pair[2:]), pictures, strict=True
            ):
                np.testing.assert_array_equal(tensor.numpy(), picture)
            assert example.facts == facts
            assert example.changed == bool(facts)
            assert len(example.captions) == 5


def test_the_caption_file_numbers_images_and_sentences_without_gaps(root):
    images = json.loads((root / "SECOND-CC-AUG.json").read_text())["images"]
    assert [image["imgid"] for image in images] == list(range(12))
    assert [i for image in images for i in image["sentids"]] == list(range(60))
    assert all(s["tokens"] == s["raw"].split() for image in images for s in image["sentences"])


def test_the_parameters_lie_beside_the_data(root):
    parameters = json.loads((root / PARAMETERS).read_text())
    del parameters["version"]
    assert parameters == {"pairs": 12, "size": 32, "seed": 4, "val": 1, "test": 1}


@pytest.mark.slow
def test_more_pairs_and_processes_change_no_pair(root, tmp_path):
    other = write(tmp_path / "more", 20, size=32, seed=4, val=2, test=2, workers=2, progress=False)
    for i in range(10):
        for folder in ("rgb/A", "rgb/B", "sem/A", "sem/B"):
            name = f"train/{folder}/{i:06d}.png"
            assert (other / name).read_bytes() == (root / name).read_bytes(), name
    captions_of = [json.loads((path / "SECOND-CC-AUG.json").read_text())["images"][:10] for path in (root, other)]
    assert captions_of[0] == captions_of[1]


# the same everywhere


@pytest.mark.parametrize(
    ("index", "size", "expected"),
    [
        (1, 64, "5acfb2d1565cae09"),
        (1, 256, "49ad16f3be63ccb3"),
        (5, 100, "926a57a916bf3b51"),
    ],
)
def test_the_same_seed_gives_the_same_pixels_on_every_machine(index, size, expected):
    assert digest(*render_pair(0, index, size)[:4]) == expected


def test_the_same_seed_gives_the_same_facts_and_captions_on_every_machine():
    said = [captions(facts_of(0, i), np.random.default_rng([0, i, 1])) for i in range(100)]
    entries = [[fact.to_json() for fact in facts_of(0, i)] for i in range(100)]
    assert hashlib.sha256(json.dumps([entries, said]).encode()).hexdigest()[:16] == "340ee094058417c3"


@pytest.mark.parametrize("size", [64, 100, 128])
def test_facts_are_the_same_at_every_size_and_the_maps_lie_where_they_lay(size, pairs):
    for i in range(8):
        *_, sem_a, sem_b, facts = render_pair(3, i, size)
        *_, large_a, large_b, large_facts = render_pair(3, i, 256)
        assert facts == large_facts
        at = ((np.arange(size) + 0.5) * 256 / size).astype(int)
        for small, large in ((sem_a, large_a), (sem_b, large_b)):
            assert (small != large[np.ix_(at, at)]).mean() < 0.02


def test_another_seed_or_number_gives_another_scene():
    assert len({digest(render_pair(seed, i, 32)[0]) for seed in (0, 1) for i in (0, 1)}) == 4


# what the scenes hold


def test_half_of_the_scenes_change_and_half_of_those_more_than_once(scenes):
    changes = Counter(len(scene.facts) for scene in scenes)
    assert set(changes) == {0, 1, 2, 3}
    assert 170 < changes[0] < 230  # two deviations of 10
    assert 80 < changes[1] < 120


def test_every_class_place_and_count_occurs_and_many_kinds_of_change(scenes):
    facts = [fact for scene in scenes for fact in scene.facts]
    assert {fact.source for fact in facts} == {fact.target for fact in facts} == set(CLASSES[1:])
    assert {fact.place for fact in facts} == set(PLACES)
    assert {fact.count for fact in facts if "building" in (fact.source, fact.target)} == {1, 2, 3, 4, 5}
    assert {fact.count for fact in facts if "building" not in (fact.source, fact.target)} == {1}
    assert len({(fact.source, fact.target) for fact in facts}) >= 14


def test_changes_of_one_scene_lie_in_different_places(scenes):
    assert all(len({fact.place for fact in scene.facts}) == len(scene.facts) for scene in scenes)


def test_unchanged_scenes_hold_the_same_kinds_of_plots_as_changed_ones(scenes):
    kinds = [
        {(plot.kind, plot.fill) for s in scenes if bool(s.facts) == changed for plot in plots(s)} for changed in (0, 1)
    ]
    assert kinds[0] == kinds[1]
    assert {kind for kind, _ in kinds[0]} == {0, BUILDING, PLAYGROUND}


def test_the_date_of_a_changed_plot_shows_nothing_that_stable_plots_do_not(scenes):
    stable = {
        (plot.kind, plot.fill) for s in scenes for p in s.parcels if p.before and not p.changed for plot in (p.before,)
    }
    changed = {(plot.kind, plot.fill) for s in scenes for p in s.parcels if p.changed for plot in (p.before, p.after)}
    assert changed <= stable


# the maps


def test_maps_hold_the_classes_of_the_facts_and_nothing_else(pairs):
    for *_, sem_a, sem_b, facts in pairs:
        assert set(np.unique(sem_a)) - {0} == {CLASSES.index(fact.source) for fact in facts}
        assert set(np.unique(sem_b)) - {0} == {CLASSES.index(fact.target) for fact in facts}


def test_both_maps_cover_the_same_area_and_differ_on_all_of_it(pairs):
    for *_, sem_a, sem_b, _ in pairs:
        np.testing.assert_array_equal(sem_a > 0, sem_b > 0)
        assert not ((sem_a == sem_b) & (sem_a > 0)).any()


def test_unchanged_pairs_have_blank_maps():
    blank = [render_pair(3, i, 32) for i in range(30)]
    assert all(not sem_a.any() and not sem_b.any() for *_, sem_a, sem_b, facts in blank if not facts)
    assert any(not facts for *_, facts in blank)


def regions(sem_a, sem_b, facts):
    """The connected areas of each fact, sizes and middles: each goes to the nearest cell with its kind of change."""
    found = {fact: [] for fact in facts}
    centre = {fact: (np.array(divmod(PLACES.index(fact.place), 3)) + 0.5) * len(sem_a) / 3 for fact in facts}
    for source, target in {(fact.source, fact.target) for fact in facts}:
        area = (sem_a == CLASSES.index(source)) & (sem_b == CLASSES.index(target))
        parts = label(area, connectivity=2)
        for part in range(1, parts.max() + 1):
            where = np.argwhere(parts == part)
            middle = where.mean(0) + 0.5
            alike = [fact for fact in facts if (fact.source, fact.target) == (source, target)]
            found[min(alike, key=lambda fact: float(((centre[fact] - middle) ** 2).sum()))].append((len(where), middle))
    return found


def test_every_change_is_one_area_or_as_many_buildings_as_its_fact_says(pairs):
    for i, (*_, sem_a, sem_b, facts) in enumerate(pairs):
        for fact, parts in regions(sem_a, sem_b, facts).items():
            assert len(parts) == fact.count, (i, fact)
            assert all(size >= 90 for size, _ in parts), (i, fact)  # 2 x 3 pixels at 64


def test_the_middle_of_every_change_lies_well_inside_the_cell_of_its_fact(pairs):
    for i, (*_, sem_a, sem_b, facts) in enumerate(pairs):
        for fact, parts in regions(sem_a, sem_b, facts).items():
            sizes, middles = (np.array(v) for v in zip(*parts, strict=True))
            inside = (sizes @ middles / sizes.sum()) - np.array(divmod(PLACES.index(fact.place), 3)) * 256 / 3
            assert inside.min() >= 8, (i, fact)
            assert inside.max() <= 256 / 3 - 8, (i, fact)


def test_changes_are_seen_and_the_rest_stays_at_64_pixels():
    contrast = []
    for i in range(120):
        a, b, sem_a, _, facts = render_pair(3, i, 64)
        if facts:
            change = np.abs(b.astype(float) - a).mean(-1)
            contrast.append(change[sem_a > 0].mean() / change[sem_a == 0].mean())
    assert np.median(contrast) > 1.8


def test_both_dates_of_an_unchanged_pair_differ_in_light_and_noise():
    for i in range(30):
        a, b, *_, facts = render_pair(3, i, 64)
        if not facts:
            assert (a != b).mean() > 0.5


# words


def test_captions_state_exactly_the_facts():
    for i in range(200):
        facts = facts_of(6, i)
        for sentence in captions(facts, np.random.default_rng(i)):
            assert parse(sentence) == sorted(facts, key=lambda fact: PLACES.index(fact.place))


def test_an_unchanged_pair_gets_every_no_change_sentence_once():
    orders = {tuple(captions((), np.random.default_rng(i))) for i in range(30)}
    assert len(orders) > 10
    assert all(sorted(order) == sorted(NO_CHANGE) for order in orders)


def test_captions_are_lower_case_words_joined_by_one_blank():
    for i in range(100):
        for sentence in captions(facts_of(6, i), np.random.default_rng(i)):
            assert sentence == " ".join(sentence.lower().split())
            assert sentence.replace(" ", "").isalpha()


# borders


@pytest.mark.parametrize("wrong", [{"pairs": 0}, {"size": 8}, {"val": -1}, {"test": -1}, {"val": 5, "test": 5}])
def test_numbers_that_do_not_fit_are_named(wrong, tmp_path):
    arguments = {"pairs": 10, "size": 32} | wrong
    key, value = next(iter(wrong.items()))
    with pytest.raises(DataError, match=f"{key}={value}"):
        write(tmp_path / "data", **arguments, workers=1, progress=False)
    assert not (tmp_path / "data").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(DataError, match="there already"):
        write(tmp_path, 2, size=32, workers=1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "data").write_text("precious")
    with pytest.raises(DataError, match="there already"):
        write(tmp_path / "data", 2, size=32, workers=1, progress=False)
    assert (tmp_path / "data").read_text() == "precious"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", 2, size=32, workers=1, progress=False)
    assert (tmp_path / "data" / PARAMETERS).exists()


@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (OSError(errno.ENOSPC, "No space left on device"), DataError, "No space left on device.*MB"),
    ],
)
def test_what_breaks_off_leaves_nothing_behind(raised, seen, message, tmp_path, monkeypatch):
    one = WRITING._one

    def stop(index, split, **arguments):
        if index == 3:
            raise raised
        return one(index, split, **arguments)

    monkeypatch.setattr(WRITING, "_one", stop)
    with pytest.raises(seen, match=message):
        write(tmp_path / "data", 6, size=32, workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/data"):
        write(tmp_path / "file" / "data", 2, size=32, workers=1, progress=False)


# difficulty


@pytest.mark.slow
def test_the_nearest_training_pair_does_not_give_the_captions_away(tmp_path):
    # More pairs come nearer: benchmarks/synth.py looks among 4000, this among 1500, which are made within a minute.
    # The bounds therefore lie below those that hold for 4000: .50 and .65 by images, .85 by maps.
    root = write(tmp_path / "data", 1800, size=64, seed=0, val=0, test=300, workers=2, progress=False)
    train, test = (data.load("second_cc", root, split) for split in ("train", "test"))
    said = nearest(train, test, maps=True)
    truth = {example.id: example.facts for example in test.examples}
    rgb, maps = (fact_scores(said[f"nearest_{by}"], truth) for by in ("rgb", "maps"))
    assert rgb["facts"] <= 0.25
    assert rgb["place"] <= 0.25
    assert maps["facts"] <= 0.65
    assert maps["facts"] > rgb["facts"]  # the lookup works at all
