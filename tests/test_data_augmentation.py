"""Augmented pairs keep captions, maps and facts that are true of them: in training, and as a data set of their own."""

import json

import pytest
import torch

import changecap
from changecap import data
from changecap.cli.entry import main
from changecap.data.augmentation import Augmentation, chains, with_turned
from changecap.data.augmented_copies import augment
from changecap.data.synthetic import write
from changecap.errors import CheckpointError, ConfigError, DataError
from changecap.language.directions import TURNS, rewrite, turn_place
from changecap.language.facts import parse
from changecap.language.vocabulary import Vocabulary
from changecap.training.loop import train
from preprocess import Pair, build
from preprocess.second_cc_augmentation import VARIANTS
from tests.test_training_loop import describe

PLACED = "a house is built on the left"
STUCK = "two vertical roads are built"  # across or upright: a quarter turn cannot follow


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "synth", pairs=10, size=32, workers=1, progress=False)


@pytest.fixture(scope="module")
def augmented(root, tmp_path_factory):
    return augment(tmp_path_factory.mktemp("out") / "more", "second_cc", root, workers=1, progress=False).folder


def on_the_fly(steps, captions):
    flat = [caption for of_pair in captions for caption in of_pair]
    vocabulary = with_turned(Vocabulary.build(flat), flat, 1)
    return Augmentation(build(steps), captions, vocabulary, seed=1), vocabulary


def batch(count=8):
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Pair(images, images)


def test_captions_are_rewritten_as_their_pair_was_turned():
    augmentation, vocabulary = on_the_fly(["flip", "rotate90"], [[PLACED, "there is no difference"]] * 8)
    there, captions, left_out = augmentation(batch(), range(8), step=0)
    assert left_out == 0
    done = augmentation.chain.run(batch(), torch.Generator().manual_seed(1 << 32))
    for said, turn in zip(captions, done.turn.tolist(), strict=True):
        wanted = rewrite(PLACED, tuple(map(tuple, turn)))
        assert [vocabulary.decode(ids[1:]) for ids in said] == [wanted, "there is no difference"]
    assert torch.equal(there.a, done.pair.a)
    assert len({str(said) for said in captions}) > 2


def test_what_cannot_be_rewritten_is_left_out_and_counted():
    augmentation, vocabulary = on_the_fly([{"transpose": {"p": 1.0}}], [[PLACED, STUCK]] * 8)
    _, captions, left_out = augmentation(batch(), range(8), step=0)
    assert left_out == 8
    assert {vocabulary.decode(ids[1:]) for said in captions for ids in said} == {"a house is built on the top"}


def test_a_pair_that_would_lose_all_captions_is_not_turned():
    augmentation, vocabulary = on_the_fly([{"transpose": {"p": 1.0}}], [[STUCK], [PLACED]])
    there, captions, left_out = augmentation(batch(2), [0, 1], step=0)
    assert torch.equal(there.a[0], batch(2).a[0])
    assert torch.equal(there.a[1], batch(2).a[1].transpose(-1, -2))
    assert vocabulary.decode(captions[0][0][1:]) == STUCK
    assert left_out == 0


def test_each_step_of_training_draws_anew_and_again_the_same():
    augmentation, _ = on_the_fly(["flip", "rotate90"], [[PLACED]] * 8)
    first, again, other = (augmentation(batch(), range(8), step) for step in (0, 0, 1))
    assert torch.equal(first[0].a, again[0].a)
    assert first[1] == again[1]
    assert not torch.equal(first[0].a, other[0].a)


def test_the_vocabulary_knows_the_words_that_turns_bring():
    flat = ["in the upper part of the scene"]
    words = with_turned(Vocabulary.build(flat), flat, 1).words
    assert {"upper", "lower", "left-hand", "right-hand"} <= set(words)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["gama"], "did you mean 'gamma'"),
        (["gamma", "register"], "register always acts, so it comes before gamma"),
    ],
)
def test_wrong_steps_are_told_as_settings(steps, message):
    with pytest.raises(ConfigError, match=message):
        chains({"steps": steps})


def test_a_run_remembers_its_steps_and_only_always_acting_ones_caption(root, tmp_path):
    steps = ["register", "flip", {"rotate90": {"p": 1.0}}, {"gamma": {"low": 0.8, "high": 1.2}}]
    config = describe(root, tmp_path / "run", preprocess={"steps": steps}, epochs=1)
    captioner = changecap.load(train(config, progress=False))
    assert captioner.config["preprocess"] == {"format": 1, "steps": steps}
    assert captioner.prepare.names == ["register"]
    assert "left-hand" in captioner.vocabulary.words


def test_a_checkpoint_of_a_newer_version_is_refused(root, tmp_path):
    captioner = changecap.load(train(describe(root, tmp_path / "run", epochs=1), progress=False))
    config = {**captioner.config, "preprocess": {"format": 2, "steps": []}}
    with pytest.raises(CheckpointError, match="newer version"):
        changecap.Captioner(captioner.model, captioner.vocabulary, config)


def test_the_recipe_writes_a_copy_by_each_variant(root, augmented):
    before, after = (data.load("second_cc", r, "train") for r in (root, augmented))
    assert len(after) == len(before) * (1 + len(VARIANTS))
    assert [e.id for e in after.examples[: 1 + len(VARIANTS)]] == [
        before.examples[0].id,
        *(f"{before.examples[0].id.removesuffix('.png')}_{variant}.png" for variant in VARIANTS),
    ]
    for split in ("val", "test"):
        assert len(data.load("second_cc", augmented, split)) == len(data.load("second_cc", root, split))


def test_images_maps_facts_and_captions_of_a_copy_are_turned_together(root, augmented):
    before, after = (data.load("second_cc", r, "train") for r in (root, augmented))
    step = 1 + len(VARIANTS)
    at = 1 + VARIANTS.index("rotate90")
    assert any(example.facts for example in before.examples)
    for i, example in enumerate(before.examples):
        there = after.examples[i * step + at]
        for x, y in zip(before[i], after[i * step + at], strict=True):
            assert torch.equal(x.rot90(-1, (-2, -1)), y)
        places = [turn_place(fact.place, TURNS["rotate90"]) for fact in example.facts]
        assert [fact.place for fact in there.facts] == places
        assert all({f.place for f in parse(c)} == set(places) for c in there.captions if example.facts)


def test_blur_and_brightness_leave_maps_and_captions(root, augmented):
    before, after = (data.load("second_cc", r, "train") for r in (root, augmented))
    for variant, (a, b) in {"blur": (1, 1), "brighten": (1, 1), "brighten_before": (1, 0)}.items():
        there = after[1 + VARIANTS.index(variant)]
        assert bool((there.a != before[0].a).any()) == bool(a)
        assert bool((there.b != before[0].b).any()) == bool(b)
        assert torch.equal(there.sem_a, before[0].sem_a)
        assert after.examples[1 + VARIANTS.index(variant)].captions == before.examples[0].captions
    brighter = after[1 + VARIANTS.index("brighten_before")].a.int()
    assert torch.equal(brighter, (before[0].a.int() + 80).clamp(max=255))


def test_an_interrupted_call_goes_on_to_the_same_data_set(root, augmented, tmp_path, monkeypatch):
    from changecap.data import augmented_copies

    done = []

    def stops(path, x, save=augmented_copies.save):
        if len(done) == 90:
            raise OSError("No space left on device")
        done.append(path)
        save(path, x)

    out = tmp_path / "more"
    monkeypatch.setattr(augmented_copies, "save", stops)
    with pytest.raises(DataError, match="No space left"):
        augment(out, "second_cc", root, workers=1, progress=False)
    assert not out.exists()
    monkeypatch.undo()
    with pytest.raises(DataError, match="remove it, or ask for the same"):
        augment(out, "second_cc", root, seed=1, workers=1, progress=False)
    augment(out, "second_cc", root, workers=1, progress=False)
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(augmented) for path in augmented.rglob("*") if path.is_file())
    assert all((out / name).read_bytes() == (augmented / name).read_bytes() for name in names)


def test_augment_is_a_verb(root, tmp_path, capsys):
    status = main(["augment", f"data.root={root}", f"out={tmp_path / 'more'}", "splits=[val]", "workers=1"])
    assert status == 0
    assert "copies" in capsys.readouterr().out
    entries = json.loads((tmp_path / "more" / "SECOND-CC-AUG.json").read_text())["images"]
    assert [e["imgid"] for e in entries] == list(range(len(entries)))
    with pytest.raises(DataError, match="is there already"):
        augment(tmp_path / "more", "second_cc", root)


@pytest.mark.parametrize(
    ("change", "message"), [({"recipe": "other"}, "'other'"), ({"splits": ["dev"]}, "'dev' is none of those")]
)
def test_an_unknown_recipe_or_split_is_told(root, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        augment(tmp_path / "more", "second_cc", root, **change)


def test_the_recipe_on_the_fly_draws_every_variant():
    done = build(["second_cc"]).run(batch(200), torch.Generator().manual_seed(0))
    assert set(done.parameters[0][1]["variant"].tolist()) == set(range(-1, len(VARIANTS)))
