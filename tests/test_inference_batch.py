import csv
import io
import json
import signal
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import Affine, from_origin
from test_inference_captioner import build, draw, files

import zoo
from changecap.cli.entry import main
from changecap.data.augmentation import chains
from changecap.data.file_pairs import Job, jobs_of_folders, jobs_of_list
from changecap.errors import DataError
from changecap.inference import batch as captioning
from changecap.inference.batch import caption_files, formatted
from changecap.inference.captioner import Captioner


def talkative(inputs):
    """A captioner whose sentences are not empty."""
    captioner = build(inputs)
    captioner.model.words.head.bias.data[captioner.vocabulary.eos] = -1
    return captioner


@pytest.fixture(scope="module")
def rgb():
    return talkative("rgb")


@pytest.fixture
def folders(tmp_path):
    """Five pairs in two folders."""
    for seed in range(5):
        for name, pixels in zip("AB", draw(seed), strict=False):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / name / f"pair {seed}.png")
    return tmp_path / "A", tmp_path / "B"


@pytest.fixture
def saved(rgb, tmp_path):
    rgb.save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def rows_of(captioner, jobs, out=None, **options):
    return list(caption_files(captioner, jobs, out, progress=False, **options))


def test_folders_are_joined_by_name_whatever_the_suffix(folders):
    a, b = folders
    Image.open(b / "pair 1.png").save(b / "pair 1.jpg")
    (b / "pair 1.png").unlink()
    jobs = jobs_of_folders(a, b)
    assert [job.id for job in jobs] == [f"pair {i}" for i in range(5)]
    assert jobs[1].b == b / "pair 1.jpg"


def test_a_file_without_partner_is_a_job_with_an_error(folders):
    a, b = folders
    (b / "pair 3.png").unlink()
    assert [job.error for job in jobs_of_folders(a, b)] == [None, None, None, f"{b} has no pair 3", None]


def test_names_that_do_not_tell_pairs_apart_are_jobs_with_an_error(folders):
    a, b = folders
    Image.open(a / "pair 1.png").save(a / "pair 1.jpg")
    (b / "pair 3.png").rename(b / "Pair 3.png")
    errors = {job.id: job.error for job in jobs_of_folders(a, b)}
    if "Pair 3" not in errors:
        pytest.skip("this file system does not tell upper case from lower")
    assert errors.pop("pair 1") == f"pair 1.jpg and pair 1.png in {a} are both called pair 1; remove or rename one"
    assert errors.pop("pair 3") == f"{b / 'Pair 3.png'} and {a / 'pair 3.png'} differ only in case; rename one"
    assert errors.pop("Pair 3") is not None
    assert [*errors.values()] == [None] * 3


def test_hidden_files_and_folders_are_passed_by(folders):
    a, b = folders
    (a / ".pair 9.png").write_bytes(b"")
    (b / "pair 8.png").mkdir()
    assert [job.id for job in jobs_of_folders(a, b)] == [f"pair {i}" for i in range(5)]


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_folder_without_images_is_named(folders, tmp_path, kind):
    other = tmp_path / "other"
    if kind == "empty":
        other.mkdir()
    with pytest.raises(DataError, match="other"):
        jobs_of_folders(folders[0], other)


def test_a_list_names_its_files_from_its_own_folder(folders, tmp_path):
    (tmp_path / "pairs.csv").write_text("id,a,b\nfirst,A/pair 0.png,B/pair 0.png\nsecond,A/pair 1.png,\n")
    first, second = jobs_of_list(tmp_path / "pairs.csv")
    assert first == Job("first", tmp_path / "A/pair 0.png", tmp_path / "B/pair 0.png")
    assert second.error.endswith("line 3 has no b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header line"),
        (b"x,y\n1,2\n", "names a and b"),
        (b"a,b\n\xff\xfe,1\n", "UTF-8"),
        (b"a,b\n1/x.png,2/x.png\n3/x.png,4/x.png\n", "'x' is there twice"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path, content, message):
    (tmp_path / "pairs.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        jobs_of_list(tmp_path / "pairs.csv")


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_many_pairs_get_what_each_gets_alone(rgb, folders, batch):
    jobs = jobs_of_folders(*folders)
    alone = [rgb(job.a, job.b) for job in jobs]
    rows = rows_of(rgb, jobs, batch=batch)
    assert [row["text"] for row in rows] == [caption.text for caption in alone]
    assert [row["log_probability"] for row in rows] == pytest.approx([c.score for c in alone], abs=1e-4)


def test_broken_missing_and_ambiguous_files_do_not_stop_the_rest(rgb, folders):
    a, b = folders
    (a / "pair 2.png").write_bytes((a / "pair 2.png").read_bytes()[:60])
    (b / "pair 0.png").unlink()
    Image.open(a / "pair 4.png").save(a / "pair 4.bmp")
    rows = rows_of(rgb, jobs_of_folders(a, b), batch=2)
    assert [row["error"] is None for row in rows] == [False, True, False, True, False]
    for i, word in ((0, "has no pair 0"), (2, "pair 2.png cannot be read"), (4, "are both called")):
        assert word in rows[i]["error"]
        assert rows[i]["text"] is None


def test_what_was_done_is_not_done_again(rgb, folders, tmp_path, monkeypatch):
    jobs, out = jobs_of_folders(*folders), tmp_path / "captions.jsonl"
    going = caption_files(rgb, jobs, out, form="json", batch=2, progress=False)
    first = [next(going), next(going), next(going)]
    going.close()  # as Ctrl-C does
    assert not out.exists()
    asked = []
    monkeypatch.setattr(captioning, "_read", lambda c, job, read=captioning._read: asked.append(job.id) or read(c, job))
    rows = rows_of(rgb, jobs, out, form="json", batch=2)
    assert rows[:3] == first
    assert asked == ["pair 4"]  # two batches of two were done
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("other", ["beams", "checkpoint", "files"])
def test_what_another_call_did_is_done_anew(rgb, folders, tmp_path, monkeypatch, other):
    jobs, out = jobs_of_folders(*folders), tmp_path / "captions.jsonl"
    going = caption_files(rgb, jobs, out, batch=5, beams=1, progress=False)
    next(going)
    going.close()
    asked = []
    monkeypatch.setattr(captioning, "_read", lambda c, job, read=captioning._read: asked.append(job.id) or read(c, job))
    if other == "checkpoint":
        monkeypatch.setitem(rgb.config, "sha256", "another")
    if other == "files":
        jobs = [replace(job, b=job.a) for job in jobs]
    rows_of(rgb, jobs, out, beams=2 if other == "beams" else 1)
    assert asked == [job.id for job in jobs]


def test_pairs_that_failed_are_tried_again(rgb, folders, tmp_path):
    a, b = folders
    whole = (a / "pair 0.png").read_bytes()
    (a / "pair 0.png").write_bytes(whole[:50])
    going = caption_files(rgb, jobs_of_folders(a, b), tmp_path / "out.csv", batch=2, progress=False)
    assert next(going)["error"]
    going.close()
    (a / "pair 0.png").write_bytes(whole)
    rows = rows_of(rgb, jobs_of_folders(a, b), tmp_path / "out.csv", form="csv")
    assert all(row["error"] is None for row in rows)


def test_a_line_torn_by_a_crash_is_left_out(rgb, folders, tmp_path):
    out = tmp_path / "out.txt"
    out.with_name("out.txt.part").write_text('{"id": "pair 0", "te')
    assert len(rows_of(rgb, jobs_of_folders(*folders), out)) == 5


@contextmanager
def disk_that_ends_after(size):
    """Within, a file can be no longer than ``size`` bytes: what would be is cut there, and the write fails."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_full_disk_loses_nothing_that_was_done(rgb, folders, tmp_path, share):
    jobs, out = jobs_of_folders(*folders), tmp_path / "out.jsonl"
    wanted = rows_of(rgb, jobs)
    size = int(share * len(formatted(wanted, "json")))
    with disk_that_ends_after(size), pytest.raises(DataError, match=r"out\.jsonl\.part cannot be written: .*again"):
        rows_of(rgb, jobs, out, form="json", batch=1)
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.jsonl.part"]
    whole = out.with_name("out.jsonl.part").read_text().split("\n")[:-1]
    kept = [json.loads(line)["row"] for line in whole]
    assert len(kept) >= int(4 * share)
    assert [row["text"] for row in kept] == [row["text"] for row in wanted[: len(kept)]]
    assert len(rows_of(rgb, jobs, out, form="json", batch=1)) == 5
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == [row["text"] for row in wanted]


def test_figures_stay_in_their_folder_whatever_an_id_holds(rgb, folders, tmp_path):
    a, b = (folder / "pair 0.png" for folder in folders)
    names = ["../../up", "..", "/up/x", "x/y", "x%2Fy", r"x\y", "x\0y", "é 北"]
    drawn = tmp_path / "in" / "figures"
    rows = rows_of(rgb, [Job(name, a, b) for name in names], figures=drawn)
    assert [row["id"] for row in rows] == names
    assert len([path for path in drawn.iterdir() if path.is_file()]) == len(names)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["figures"]
    assert (drawn / "é 北.png").is_file()


def test_each_form_says_the_same(rgb, folders):
    a, b = folders
    (a / "pair 4.png").write_bytes(b"no image")
    rows = rows_of(rgb, jobs_of_folders(a, b))
    table = list(csv.DictReader(io.StringIO(formatted(rows, "csv"))))
    lines = [json.loads(line) for line in formatted(rows, "json").splitlines()]
    plain = [line.split("\t") for line in formatted(rows, "text").splitlines()]
    assert lines == rows
    assert [row["text"] for row in table] == [row["text"] or "" for row in rows]
    assert [name for name, _ in plain] == [row["id"] for row in rows]
    assert plain[4][1].startswith("error: ")
    assert table[0]["words"].split()[0] == f"{rows[0]['words'][0]['word']}:{rows[0]['words'][0]['probability']:.3f}"


def test_each_form_has_the_other_sentences_that_were_asked_for(rgb, folders):
    rows = rows_of(rgb, jobs_of_folders(*folders), beams=4, decode={"num_return_sequences": 3})
    assert all(
        len(row["others"]) == 2 and row["log_probability"] >= row["others"][0]["log_probability"] for row in rows
    )
    table = list(csv.DictReader(io.StringIO(formatted(rows, "csv"))))
    assert [row["others"].split(" | ") for row in table] == [[o["text"] for o in row["others"]] for row in rows]


def test_attention_is_a_share_for_each_word(rgb, folders):
    pair = rgb.read(*(folder / "pair 0.png" for folder in folders))
    caption = rgb.caption(pair.unsqueeze(), beams=3, attend=True)[0]
    assert caption.attention.shape == (len(caption.words), 4, 4)
    np.testing.assert_allclose(caption.attention.sum((1, 2)), 1, rtol=1e-5)
    assert caption.attention.min() >= 0


def test_attention_of_a_batch_is_that_of_each_pair(folders):
    captioner = talkative("rgb")
    pairs = [captioner.read(*(folder / f"pair {i}.png" for folder in folders)) for i in range(3)]
    together = captioner.caption(type(pairs[0]).stack(pairs), attend=True)
    for pair, caption in zip(pairs, together, strict=True):
        alone = captioner.caption(pair.unsqueeze(), attend=True)[0]
        np.testing.assert_allclose(caption.attention, alone.attention, atol=1e-5)


@pytest.mark.parametrize("name", zoo.list_models())
def test_each_of_the_best_sentences_has_the_attention_that_it_has_alone(name, folders):
    captioner = build("rgb", name)
    known = captioner.vocabulary
    settings = {"num_return_sequences": 4, "max_length": 6, "bad_words": ["<start>", "<pad>"]}
    pairs = [captioner.read(*(folder / f"pair {i}.png" for folder in folders)) for i in range(3)]
    pair = type(pairs[0]).stack(pairs)
    best = captioner.caption(pair, 4, attend=True, decode=settings)
    with torch.no_grad():
        memory = captioner.model.encode(pair.a, pair.b)
    for i, first in enumerate(best):
        assert len(first.others) == 3
        alone = tuple(m[i : i + 1] for m in memory)
        for caption in (first, *first.others):
            words = [known.words.index(word) for word in caption.words]
            looks = captioner.model.attend(torch.tensor([[known.bos, *words, known.eos]]), alone)[0, :-1]
            np.testing.assert_allclose(caption.attention, looks.unflatten(1, (4, 4)).numpy(), atol=1e-5)
    assert len({caption.text for first in best for caption in (first, *first.others)}) > 3


def test_words_that_a_sentence_does_not_show_have_no_attention(folders):
    captioner = talkative("rgb")
    pair = captioner.read(*(folder / "pair 0.png" for folder in folders))
    caption = captioner.caption(pair.unsqueeze(), beams=3, attend=True, decode={"force_words": ["<pad>"]})[0]
    assert len(caption.log_probabilities) > len(caption.words) + 1
    assert len(caption.attention) == len(caption.words)


# the command


def test_folders_from_the_command_line(saved, folders, tmp_path, capsys):
    a, b = folders
    (b / "pair 1.png").unlink()
    out, drawn = tmp_path / "c.csv", tmp_path / "figures"
    arguments = [f"checkpoint={saved}", f"a={a}", f"b={b}", f"out={out}", "format=csv", f"figure={drawn}"]
    assert main(["caption", *arguments]) == 1  # for one pair is not whole
    assert "4 of 5 pairs captioned" in capsys.readouterr().err
    assert out.read_text().count("\n") == 6
    assert sorted(path.name for path in drawn.iterdir()) == [f"pair {i}.png" for i in (0, 2, 3, 4)]


def test_one_pair_with_its_figure(tmp_path, capsys):
    talkative("both").save(tmp_path / "both")
    paths = files(draw(3), tmp_path)
    named = [f"{key}={path}" for key, path in zip(("a", "b", "sem_a", "sem_b"), paths, strict=True)]
    assert main(["caption", f"checkpoint={tmp_path / 'both'}", *named, f"figure={tmp_path / 'where.png'}"]) == 0
    assert "words: " in capsys.readouterr().out
    with Image.open(tmp_path / "where.png") as image:
        assert image.width > 1200


def test_n_best_sentences_of_one_pair(saved, folders, capsys):
    pair = [f"{key}={folder / 'pair 0.png'}" for key, folder in zip("ab", folders, strict=True)]
    call = ["caption", f"checkpoint={saved}", *pair, "decode.num_return_sequences=3"]
    assert main([*call, "format=json"]) == 0
    others = json.loads(capsys.readouterr().out)["others"]
    assert main(call) == 0
    *_, second, third = capsys.readouterr().out.splitlines()
    assert [second, third] == [f"or: {other['text']}  {other['log_probability']:.2f}" for other in others]


def test_drawn_words_are_those_of_the_seed(saved, folders, capsys):
    def drawn(seed):
        call = ["caption", f"checkpoint={saved}", *(f"{key}={x}" for key, x in zip("ab", folders, strict=True))]
        assert main([*call, "beams=1", "decode.do_sample=true", "decode.temperature=2", f"seed={seed}"]) == 0
        return capsys.readouterr().out

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_says_how_to_go_on(saved, folders, tmp_path, capsys, monkeypatch, kept):
    a, b = folders
    real, calls = Captioner.caption, []

    def interrupted(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(self, *arguments, **options)

    call = ["caption", f"checkpoint={saved}", f"a={a}", f"b={b}", "batch=2"]
    call += [f"out={tmp_path / 'c.csv'}", "format=csv"] if kept else []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Captioner, "caption", interrupted)
            assert main(call) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    *bar, said = capsys.readouterr().err.splitlines()
    assert said.startswith("changecap: stopped after 2 of 5 pairs; ")
    assert "Traceback" not in "".join(bar)
    if not kept:
        assert "with out=FILE a call can go on" in said
        return
    assert f"the same call goes on from there, {tmp_path / 'c.csv'}.part keeps them" in said
    assert not (tmp_path / "c.csv").exists()
    assert main(call) == 0
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["a=x.png"], "needs a=... and b=..."), (["a=x.png", "b=y.png", "list=z.csv"], "not both")],
)
def test_what_to_caption_must_be_said_in_one_way(arguments, message, capsys):
    assert main(["caption", "checkpoint=x", *arguments]) == 2
    assert message in capsys.readouterr().err


STEPS = [{"illuminate": {"method": "clahe"}}]


@pytest.fixture
def with_steps(folders, tmp_path):
    """A checkpoint that remembers steps; captioners with its steps, with others and without; pairs with captions."""
    checkpoint = talkative("rgb")
    checkpoint.config["preprocess"] = {"format": 1, "steps": STEPS}
    checkpoint.save(tmp_path / "with steps")
    captioners = {"own": STEPS, "[illuminate]": ["illuminate"], "[]": []}
    for key, steps in captioners.items():
        captioners[key] = talkative("rgb")
        captioners[key].prepare = chains({"steps": steps})[0]
    captions = {f"pair {i}.png": ["a house appears beside the road"] for i in range(5)}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    return captioners


@pytest.mark.parametrize("asked", ["own", "[illuminate]", "[]"])
def test_steps_that_are_asked_for_are_done_in_place_of_the_checkpoints_own(
    with_steps, folders, tmp_path, asked, capsys
):
    given = [] if asked == "own" else [f"preprocess.steps={asked}"]
    jobs = jobs_of_folders(*folders)
    expected = {key: [c(job.a, job.b, beams=1).score for job in jobs] for key, c in with_steps.items()}
    assert all(expected[key] != pytest.approx(expected[asked], abs=1e-3) for key in expected if key != asked)

    call = [f"checkpoint={tmp_path / 'with steps'}", "beams=1", *given]
    assert main(["caption", *call, f"a={folders[0]}", f"b={folders[1]}", "format=json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["log_probability"] for row in rows] == pytest.approx(expected[asked], abs=1e-4)

    options = ["baselines=false", "report=false", f"out={tmp_path / 'scored'}"]
    assert main(["evaluate", *call, "data=folder", f"data.root={tmp_path}", *options]) == 0
    said = json.loads((tmp_path / "scored" / "hypotheses.json").read_text())
    assert [*said.values()] == [with_steps[asked](job.a, job.b, beams=1).text for job in jobs]


# GeoTIFFs


@pytest.fixture
def scenes(tmp_path):
    """Two GeoTIFFs of 96 x 80 pixels, the second begins 8 pixels further east."""
    transform = from_origin(500_000, 5_000_000, 10, 10)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 80, 104), np.uint8)
    for name, first in (("a.tif", 0), ("b.tif", 8)):
        where = transform * Affine.translation(first, 0)
        profile = {"driver": "GTiff", "count": 3, "height": 80, "width": 96, "dtype": "uint8", "crs": "EPSG:32633"}
        with rasterio.open(tmp_path / name, "w", **profile, transform=where) as file:
            file.write(pixels[:, :, first : first + 96])
    return tmp_path / "a.tif", tmp_path / "b.tif", pixels


def test_geotiffs_are_brought_to_one_grid_before_they_are_captioned(rgb, scenes):
    a, b, _ = scenes
    pair = rgb.read(a, b, window=(16, 8, 32, 32))
    np.testing.assert_array_equal(pair.a, pair.b)


def test_a_window_of_geotiffs_gets_the_caption_of_its_pixels(rgb, scenes):
    a, b, pixels = scenes
    window = pixels[:, 8:40, 16:48].transpose(1, 2, 0)
    assert rgb(a, b, window=(16, 8, 32, 32)) == rgb(window, window)


def test_a_window_from_the_command_line(saved, scenes, capsys):
    a, b, _ = scenes
    arguments = [f"checkpoint={saved}", f"a={a}", f"b={b}"]
    assert main(["caption", *arguments, "window=16,8,32,32", "bands=3,2,1", "scale=0,200", "format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "a"
    assert main(["caption", *arguments, "window=16,8,32"]) == 2
    assert "window must be 4 whole numbers" in capsys.readouterr().err
    assert main(["caption", *arguments, "window=200,200,32,32"]) == 1
    assert "outside what the two dates share" in capsys.readouterr().err
