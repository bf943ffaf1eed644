import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_inference_batch import disk_that_ends_after
from tiny_bench import SAME, captioner, counted, folder, hypotheses, small

from changecap.data import load
from changecap.errors import ConfigError, DataError
from changecap.robustness.grid import CLEAN, MAPS, Condition, Setting
from changecap.robustness.inputs import Look, views
from changecap.robustness.pairs import read
from preprocess import Pair
from preprocess.corruption import corrupt


@pytest.fixture
def data(tmp_path):
    return folder(tmp_path / "data")


def test_every_captioner_meets_every_condition(data, tmp_path):
    made = small({"one": captioner(), "two": counted()}, data, tmp_path / "out", variants=("none", "illuminate"))
    made.fill(progress=False)
    settings = [CLEAN, Setting("translation", 3), Setting("gamma", 3)]
    wanted = {Condition(setting, variant) for setting in settings for variant in ("none", "illuminate")}
    assert {condition for name, condition in hypotheses(made) if name == "one"} == wanted
    assert {name for name, _ in hypotheses(made)} == {"one", "two"}


def test_the_grid_takes_few_pairs_and_the_clean_conditions_all(data, tmp_path):
    made = small(counted(), data, tmp_path / "out")
    made.fill(progress=False)
    said = hypotheses(made)
    assert {setting: len(said["say", Condition(setting)]) for setting in (CLEAN, Setting("gamma", 3))} == {
        CLEAN: 6,
        Setting("gamma", 3): 4,
    }
    assert said["say", Condition(Setting("gamma", 3))].keys() < said["say", Condition(CLEAN)].keys()


def test_what_is_finished_is_not_done_again(data, tmp_path):
    first, second = counted(), counted()
    small({"one": first}, data, tmp_path / "out").fill(progress=False)
    small({"one": second}, data, tmp_path / "out").fill(progress=False)
    assert (first.pairs, second.pairs) == (6 + 4 + 4, 0)
    small({"one": second}, data, tmp_path / "out", severities=(2, 3)).fill(progress=False)
    assert second.pairs == 4 + 4


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"side": "a"}, {"pairs": 3, "clean_pairs": 3}, {"beams": 2}],
    ids=lambda change: next(iter(change)),
)
def test_what_a_cell_depends_on_makes_another_cell(data, tmp_path, change):
    one = captioner()
    small(one, data, tmp_path / "out").fill(progress=False)
    assert small(one, data, tmp_path / "out", **change).unfinished() > 0
    assert small(captioner(seed=1), data, tmp_path / "out").unfinished() == 3
    assert small(captioner(), data, tmp_path / "out").unfinished() == 0


def test_a_batch_of_1_and_of_64_and_any_number_of_workers_and_shards_say_the_same(data, tmp_path):
    data = load(**folder(tmp_path / "more", 10), split="test", maps=False)
    grid = {"variants": ("none", "illuminate", "oracle"), "pairs": 7, "clean_pairs": 10, "decode": {"max_length": 9}}
    whole = small(captioner(), data, tmp_path / "whole", batch=64, workers=1, **grid)
    whole.fill(progress=False)
    parts = small(captioner(), data, tmp_path / "parts", batch=1, workers=4, **grid)
    for i in (4, 2, 1, 3):
        parts.fill((i, 4), progress=False)
    assert hypotheses(parts) == hypotheses(whole)
    assert len({said for one in hypotheses(whole).values() for said in one.values()}) > 3


def test_features_that_are_kept_change_no_sentence(data, tmp_path):
    spared, plain = captioner(), captioner()
    looked = []
    spared.model.backbone.first.trunk.register_forward_hook(lambda _, inputs, out: looked.append(len(inputs[0])))
    one = small(spared, data, tmp_path / "one", severities=(1, 3, 5))
    one.fill(progress=False)
    two = small(plain, data, tmp_path / "two", severities=(1, 3, 5))
    two.speakers[0].say = lambda view, batch, still: type(two.speakers[0]).say(two.speakers[0], view, batch, None)
    two.fill(progress=False)
    assert hypotheses(one) == hypotheses(two)
    assert looked == [12, *[4] * 6]  # both dates of the clean pairs, then the later one of each cell


def test_shards_share_the_cells_and_none_is_done_twice(data, tmp_path):
    says = [counted(), counted()]
    for i, say in enumerate(says, start=1):
        small({"one": say}, data, tmp_path / "out").fill((i, 2), progress=False)
    assert [say.pairs for say in says] == [6 + 4, 4]
    assert small({"one": counted()}, data, tmp_path / "out").unfinished() == 0


def test_two_at_once_on_one_folder_do_no_cell_twice(data, tmp_path):
    meet = threading.Barrier(2, timeout=30)
    says = [counted(), counted()]

    def waiting(say):
        def first_waits(a, b):
            if not say.pairs:
                meet.wait()  # both are in the middle of a cell of their own
            return say(a, b)

        return first_waits

    benches = [small({"one": waiting(say)}, data, tmp_path / "out") for say in says]
    threads = [threading.Thread(target=made.fill, kwargs={"progress": False}) for made in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(say.pairs for say in says) == 6 + 4 + 4
    assert [made.unfinished() for made in benches] == [0, 0]


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_cell_loses_that_cell_alone(data, tmp_path):
    code = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tiny_bench import small, counted\n"
        "import changecap.metrics as m\n"
        "say, root, out = counted(), Path(sys.argv[2]), Path(sys.argv[3])\n"
        "def third(a, b):\n"
        "    if say.pairs == 10: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return say(a, b)\n"
        "small({'one': third}, {'name': 'folder', 'root': root}, out, batch=2).fill(progress=False)\n"
    )
    arguments = [sys.executable, "-c", code, Path(__file__).parent, data["root"], tmp_path / "out"]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == -9, done.stderr
    again = counted()
    small({"one": again}, data, tmp_path / "out", batch=2).fill(progress=False)
    assert again.pairs == 4


def test_a_full_disk_is_said_and_keeps_what_is_finished(data, tmp_path):
    made = small({"one": counted()}, data, tmp_path / "out")
    made.fill((1, 3), progress=False)
    (size,) = (path.stat().st_size for path in (tmp_path / "out" / "cells").iterdir())
    with (
        disk_that_ends_after(size // 4),
        pytest.raises(DataError, match=r"written to .*out: .*; what is finished is kept"),
    ):
        made.fill(progress=False)
    assert made.unfinished() == 2
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1
    made.fill(progress=False)
    assert made.unfinished() == 0


def test_a_folder_of_other_data_or_of_something_else_is_refused(data, tmp_path):
    small(counted(), data, tmp_path / "out")
    with pytest.raises(
        DataError, match=r"out holds results of folder test, 6 pairs, \w+ \(format 1\), and these would"
    ):
        small(counted(), folder(tmp_path / "other", seed=1), tmp_path / "out")
    with pytest.raises(DataError, match="holds 'A' and is no folder of a benchmark"):
        small(counted(), data, data["root"])


def test_a_folder_of_another_version_is_refused(data, tmp_path, monkeypatch):
    small(counted(), data, tmp_path / "out")
    monkeypatch.setattr("changecap.robustness.store.FORMAT", 2)
    with pytest.raises(DataError, match=r"\(format 1\), and these would be of .* \(format 2\); they are never mixed"):
        small(counted(), data, tmp_path / "out")


def test_a_cell_that_was_spoilt_says_so(data, tmp_path):
    made = small(counted(), data, tmp_path / "out")
    made.fill(progress=False)
    path = next((tmp_path / "out" / "cells").iterdir())
    path.write_text('{"key": {}}')
    with pytest.raises(DataError, match="is not the cell that its name says; delete it"):
        hypotheses(made)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: ["same"] * (n + 1), r"'mine' must say one sentence of each of 4 pairs, got 5"),
        (lambda n: ["same", 3, "same", "same"], r"'mine' must say sentences, got 3 of pair 1 of a batch"),
        (lambda n: "same", r"'mine' must return a list of 4 sentences for 4 pairs, got str"),
        (lambda n: None, r"'mine' must return a list of 4 sentences for 4 pairs, got NoneType"),
    ],
)
def test_a_callable_that_says_no_sentences_is_explained(data, tmp_path, answer, message):
    made = small({"mine": lambda a, b: answer(len(a))}, data, tmp_path / "out", clean_pairs=4)
    with pytest.raises(DataError, match=message):
        made.fill(progress=False)


def test_a_callable_sees_the_corrupted_images_in_their_own_size(data, tmp_path):
    seen = []

    def mine(a, b):
        seen.append((a, b))
        return [SAME[0]] * len(a)

    made = small({"mine": mine}, data, tmp_path / "out", corruptions="gamma", seed=3)
    made.fill(progress=False)
    pairs = made.pairs
    clean = Pair(pairs.images.a[:4], pairs.images.b[:4])
    dark = corrupt(clean, "gamma", 3, pairs.ids[:4], "folder", 3)
    (a, b), (again, worse) = seen
    assert a.shape == (6, 3, 36, 40)
    assert torch.equal(a, pairs.images.a / 255)
    assert torch.equal(b, pairs.images.b / 255)
    assert torch.equal(again, clean.a / 255)
    assert torch.equal(worse, dark.b / 255)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruptions": "gama"}, "unknown corruption 'gama', did you mean 'gamma'?"),
        ({"corruptions": ["gamma", "ligt"]}, "unknown corruption 'ligt', did you mean 'light'?"),
        ({"severities": (0,)}, "severities must be among 1, 2, 3, 4 and 5, got 0"),
        ({"variants": ["registr"]}, "variant 'registr': unknown step 'registr', did you mean 'register'?"),
        ({"variants": ["flip"]}, "variant 'flip' is an augmentation"),
        ({"side": "left"}, "side must be one of a, b, both, got 'left'"),
        ({"pairs": 0}, "pairs, clean_pairs, batch and workers must be at least 1, got 0"),
        ({"decode": {"do_sample": True}}, "draws no words"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_nearest(data, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        small(captioner(), data, tmp_path / "out", **options)


def test_nobody_and_namesakes_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="needs a captioner"):
        small([], data, tmp_path / "out")
    with pytest.raises(ConfigError, match="two captioners are called 'rsiccformer'"):
        small([captioner(0), captioner(1)], data, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"a captioner is a folder, a changecap\.Captioner or a callable, got int"):
        small([3], data, tmp_path / "out")


def test_folders_of_one_model_that_differ_in_a_number_are_seeds(data, tmp_path):
    for name, seed in (("cc-0", 0), ("cc-1", 1), ("other-0", 2)):
        captioner(seed).save(tmp_path / name)
    made = small([tmp_path / name for name in ("cc-0", "cc-1", "other-0")], data, tmp_path / "out")
    assert [(s.name, s.system) for s in made.speakers] == [("cc-0", "cc"), ("cc-1", "cc"), ("other-0", "other-0")]
    named = small({"mine": [captioner(0), captioner(1)], "x": captioner(2)}, data, tmp_path / "out")
    assert [(s.name, s.system) for s in named.speakers] == [("mine-0", "mine"), ("mine-1", "mine"), ("x", "x")]


def test_a_captioner_of_maps_needs_data_with_maps_and_runs_through_the_kinds_of_maps(data, tmp_path):
    with pytest.raises(DataError, match="no land-cover maps in"):
        small(captioner(inputs="both"), data, tmp_path / "out")
    with pytest.raises(DataError, match=r"a captioner takes maps, and .* was read without; give data with maps"):
        small(captioner(inputs="both"), load(**data, split="test", maps=False), tmp_path / "out")
    mapped = folder(tmp_path / "mapped", maps=True)
    made = small({"maps": captioner(inputs="both"), "rgb": captioner()}, mapped, tmp_path / "out")
    made.fill(progress=False)
    said = hypotheses(made)
    assert {c.setting.maps for name, c in said if name == "maps"} == set(MAPS)
    assert {c.setting.maps for name, c in said if name == "rgb"} == {None}


def test_maps_are_those_that_their_kind_says(tmp_path):
    pairs = read(folder(tmp_path / "mapped", 8, maps=True), 8, 8, maps=True)
    grid = small(counted(), folder(tmp_path / "x"), tmp_path / "out").grid
    look = Look(None, None, True)
    seen = {kind: views(pairs, Setting(maps=kind), {"none": [look]}, grid)["none", look.key] for kind in MAPS}
    true = pairs.images
    for kind, view in seen.items():
        assert torch.equal(view.a, true.a), kind
        assert torch.equal(view.b, true.b), kind
    assert torch.equal(seen["true"].sem_b, true.sem_b)
    assert not seen["absent"].sem_b.any()
    assert torch.equal(seen["another"].sem_b, true.sem_b.roll(-4, 0))
    assert torch.equal(seen["corrupted"].sem_a, true.sem_a)
    assert torch.equal(seen["corrupted"].sem_b, corrupt(true, "viewpoint", 3, pairs.ids, "folder").sem_b)


def test_the_oracle_undoes_a_motion_and_shows_clean_images_for_the_rest(data, tmp_path):
    made = small({"one": captioner()}, data, tmp_path / "out", variants=("oracle",))
    cured = [c for c in made.conditions(made.speakers[0]) if c.variant == "oracle"]
    assert cured == [Condition(Setting("translation", 3), "oracle")]
    look = Look(None, None, False)
    wanted = {"none": [look], "oracle": [look]}
    for side in ("a", "b", "both"):
        seen = views(made.pairs, Setting("translation", 5), wanted, made.grid._replace(side=side))
        for date in ("a", "b"):
            clean = getattr(made.pairs.images, date)[:4].float()
            off, on = (
                float((getattr(seen[variant, look.key], date).float() - clean)[..., 8:-8, 8:-8].abs().mean())
                for variant in wanted
            )
            assert on == off == 0 if side not in (date, "both") else on < 0.5 * off


def test_simulated_pairs_are_rendered_larger_than_they_are_stored(tmp_path):
    from changecap.data.synthetic import render_pair, write

    write(tmp_path / "synth", pairs=6, size=16, seed=4, val=1, test=3, workers=1, progress=False)
    pairs = read({"name": "second_cc", "root": tmp_path / "synth"}, 2, None, maps=True)
    assert pairs.images.a.shape == (3, 3, 256, 256)
    assert pairs.dataset == "synth"
    a, b, sem_a, sem_b, _ = render_pair(4, int(Path(pairs.ids[0]).stem), 256)
    for x, known in zip(pairs.images, (a.transpose(2, 0, 1), b.transpose(2, 0, 1), sem_a, sem_b), strict=True):
        assert x[0].numpy().tolist() == known.tolist()


def test_data_without_captions_or_pairs_are_refused(data):
    os.remove(data["root"] / "captions.json")
    with pytest.raises(DataError, match=r"no caption for '0.png' in the split 'test'; a benchmark needs pairs"):
        read(data)
    empty = load(**data, split="test", maps=False)
    empty.examples = []
    with pytest.raises(DataError, match="no pair in the split 'test'"):
        read(empty)


def test_a_pair_is_known_by_its_pixels(data, tmp_path):
    pairs = read(data, 4, 6)
    images = pairs.images._replace(b=pairs.images.b.clone())
    images.b[3, 0, 0, 0] ^= 1
    other = replace(pairs, images=images)
    assert other.digest(3, False) == pairs.digest(3, False)
    assert other.digest(4, False) != pairs.digest(4, False)
