import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import changecap
import zoo
from changecap.errors import CheckpointError, ConfigError, DataError
from changecap.inference import captioner as module
from changecap.inference.captioner import Captioner
from changecap.inference.search import Hypothesis, SearchResult
from changecap.landcover import to_rgb
from changecap.language.vocabulary import Vocabulary

SIZE = 32
WORDS = Vocabulary.build(["there is no difference", "a house appears beside the road"])
CONFIG = {
    "size": SIZE,
    "inputs": "both",
    "model": {
        "name": "mmodalcc",
        "image_size": SIZE,
        "dim": 16,
        "heads": 2,
        "layers": 1,
        "backbone": {"name": "resnet10t", "stride": 8, "options": {"channels": [8, 12, 16, 20], "stem_width": 8}},
    },
}


def build(inputs, name="mmodalcc"):
    config = CONFIG | {"inputs": inputs, "model": CONFIG["model"] | {"inputs": inputs, "name": name}}
    torch.manual_seed(0)
    model = zoo.create_model(vocab=len(WORDS), **config["model"]).eval()
    torch.nn.init.normal_(model.words.head.weight, std=0.5)  # so that pairs get sentences of their own
    model.words.head.bias.data[Vocabulary.eos] = 2
    return Captioner(model, WORDS, config)


@pytest.fixture(scope="module")
def captioner():
    return build("both")


@pytest.fixture(scope="module")
def rgb():
    return build("rgb")


def draw(seed, height=SIZE, width=SIZE):
    """Images and classes of both dates as arrays."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8).repeat(height // 4, 1).repeat(width // 4, 2)
    return *coarse, *rng.integers(0, 7, (2, 4, 4), dtype=np.uint8).repeat(height // 4, 1).repeat(width // 4, 2)


def tensors(arrays):
    a, b, *maps = (torch.from_numpy(x) for x in arrays)
    return a.permute(2, 0, 1), b.permute(2, 0, 1), *maps


def files(arrays, folder):
    paths = [folder / f"{name}, (1).png" for name in ("a", "b", "sem_a", "sem_b")]
    for path, x in zip(paths, arrays, strict=True):
        Image.fromarray(x if x.ndim == 3 else to_rgb(x)).save(path)
    return paths


@pytest.mark.parametrize("size", [(SIZE, SIZE), (48, 64)], ids=str)
def test_files_pictures_arrays_and_tensors_of_a_pair_get_the_same_caption(captioner, tmp_path, size):
    arrays = draw(1, *size)
    expected = captioner(*tensors(arrays))
    paths = files(arrays, tmp_path)
    assert captioner(*paths) == expected
    assert captioner(*map(str, paths)) == expected
    assert captioner(*map(Image.open, paths)) == expected
    assert captioner(*arrays) == expected
    assert captioner(*arrays[:2], *(to_rgb(x) for x in arrays[2:])) == expected
    assert captioner(*(Image.fromarray(x if x.ndim == 3 else to_rgb(x)) for x in arrays)) == expected
    assert captioner(*arrays[:2], *(torch.from_numpy(x).long() for x in arrays[2:])) == expected


def test_floats_get_the_caption_of_the_bytes_they_stand_for(captioner):
    a, b, *maps = draw(1)
    expected = captioner(a, b, *maps)
    assert captioner(a / np.float32(255), b / np.float32(255), *maps) == expected
    x, y, *_ = tensors((a, b, *maps))
    assert captioner(x / 255, y / 255, *maps) == expected
    assert captioner(x / 255, y, *maps) == expected
    double = captioner(a / 255, b / 255, *maps)
    assert (double.text, double.score) == (expected.text, pytest.approx(expected.score, abs=1e-4))


def test_the_caller_keeps_his_pictures_as_they_were(captioner):
    arrays = draw(2, 64, 48)
    for x in arrays:
        x.setflags(write=False)
    copies = [x.copy() for x in arrays]
    captioner(*arrays)
    assert all((x == y).all() for x, y in zip(arrays, copies, strict=True))


def test_a_list_is_one_batch_and_says_what_its_pairs_say_alone(captioner, monkeypatch):
    pairs = [draw(1), draw(2, 64, 48), tensors(draw(3))]
    alone = [captioner(*pair) for pair in pairs]
    searches, real = [], module.search

    def count(model, memory, decoding, **options):
        searches.append(len(memory[0]))
        return real(model, memory, decoding, **options)

    monkeypatch.setattr(module, "search", count)
    together = captioner(*(list(column) for column in zip(*pairs, strict=True)))
    assert searches == [3]
    assert [c.text for c in together] == [c.text for c in alone]
    assert [c.score for c in together] == pytest.approx([c.score for c in alone], abs=1e-4)
    assert len({round(c.score, 3) for c in alone}) > 1


def test_bytes_and_floats_mix_in_one_list(rgb):
    a, b, *_ = draw(1)
    one = rgb(a, b)
    both = rgb([a, a / np.float32(255)], [b, b])
    assert [c.text for c in both] == [one.text] * 2
    assert [c.score for c in both] == pytest.approx([one.score] * 2, abs=1e-4)


def test_a_list_of_one_gives_a_list_and_an_empty_one_an_empty_one(rgb):
    a, b, *_ = draw(1)
    assert rgb([a], [b]) == [rgb(a, b)]
    assert rgb([], []) == []


def test_a_captioner_of_images_does_not_look_at_maps(rgb):
    a, b, *_ = draw(1)
    assert rgb(a, b, "no such file", None) == rgb(a, b)


def test_a_caption_knows_its_words_and_how_sure_it_is(captioner):
    caption = captioner(*draw(1))
    assert caption.words == tuple(caption.text.split())
    assert len(caption.log_probabilities) == len(caption.words) + 1
    assert max(caption.log_probabilities) < 0
    assert caption.score == pytest.approx(sum(caption.log_probabilities))


@pytest.mark.parametrize(
    ("text", "changed"), [("there is no difference", False), ("a house appears beside the road", True)]
)
def test_a_caption_says_whether_anything_changed(captioner, monkeypatch, text, changed):
    ids = tuple(WORDS.encode(text))
    found = SearchResult([Hypothesis(ids, -1.0, (-0.1,) * (len(ids) - 1), True)])
    monkeypatch.setattr(module, "search", lambda *_, **__: [found])
    caption = captioner(*draw(1))
    assert (caption.text, caption.changed) == (text, changed)


def test_a_wider_beam_never_finds_a_less_likely_sentence_here(captioner):
    assert captioner(*draw(1), beams=3).score >= captioner(*draw(1), beams=1).score


A, B, SEM_A, SEM_B = draw(1)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ((A, B), "trained with inputs=both: it needs a land-cover map for both dates"),
        ((A, B, SEM_A), r"for both dates \(sem_a, sem_b\); train one with inputs=rgb"),
        (([A, A], [B, B], [SEM_A, None], [SEM_B] * 2), "it needs a land-cover map"),
        ((A, B[:16], SEM_A, SEM_B), r"of one size .*, got a 32 x 32, b 16 x 32, sem_a 32 x 32, sem_b 32 x 32"),
        ((A, B, SEM_A, SEM_B[:, :8]), r"of one size .*sem_b 32 x 8"),
        (([A, A], [B], [SEM_A] * 2, [SEM_B] * 2), "lists of one length, got 2, 1, 2, 2"),
        (([A, A], B, [SEM_A] * 2, [SEM_B] * 2), "lists of one length, got 2, one picture, 2, 2"),
        ((A, [B], SEM_A, SEM_B), "lists of one length, got one picture, 1, one picture, one picture"),
        (
            (A, None, SEM_A, SEM_B),
            "an image must be a path, a PIL image, an array or a tensor of numbers, got NoneType",
        ),
        ((A.astype(str), B, SEM_A, SEM_B), r"an image must be a path.*, got an array of <U"),
        ((A.astype(np.int64), B, SEM_A, SEM_B), r"uint8 or float in \[0, 1\], got torch.int64 in \[6, 255\]"),
        ((A.astype(np.uint16), B, SEM_A, SEM_B), r"uint8 or float in \[0, 1\], got torch.uint16"),
        ((A.astype(np.float32), B, SEM_A, SEM_B), r"uint8 or float in \[0, 1\], got torch.float32 in \[6, 255\]"),
        ((A * np.float32("nan"), B, SEM_A, SEM_B), r"uint8 or float in \[0, 1\], got torch.float32 in \[nan, nan\]"),
        ((A[..., 0], B, SEM_A, SEM_B), r"\(H, W, 3\) as an array, got \(32, 32\), channels first"),
        ((A[:0], B, SEM_A, SEM_B), r"got \(3, 0, 32\), channels first"),
        ((torch.zeros(2, 3, 32, 32), B, SEM_A, SEM_B), r"must be \(3, H, W\) as a tensor.* got \(2, 3, 32, 32\)"),
        ((A, B, SEM_A / 7, SEM_B), r"a map must be integer classes \(H, W\) .*, got torch.float64 \(32, 32\)"),
        ((A, B, SEM_A + 1, SEM_B), "classes of a map must be from 0 to 6, got 1 to 7"),
        ((A, B, SEM_A.astype(np.int8) - 1, SEM_B), "classes of a map must be from 0 to 6, got -1 to 5"),
        ((A, B, SEM_A[None, None], SEM_B), r"a map must be integer classes .*, got torch.uint8 \(1, 1, 32, 32\)"),
        ((A, B, A, SEM_B), "pixels of colour .*, which is not on the SECOND palette"),
        ((A, B, Image.fromarray(SEM_A), SEM_B), "a map must be a PIL image of mode RGB, RGBA, P, got L"),
        ((Image.fromarray(A).convert("F"), B, SEM_A, SEM_B), "an image must be a PIL image of mode .*, got F"),
        (("/nowhere/a.png", B, SEM_A, SEM_B), r"no image at /nowhere/a\.png"),
        ((A, B, "/nowhere/s.png", SEM_B), r"no land-cover map at /nowhere/s\.png"),
    ],
)
def test_a_picture_that_cannot_be_captioned_is_explained(captioner, pictures, message):
    with pytest.raises(DataError, match=message):
        captioner(*pictures)


def test_a_file_that_is_no_image_is_named(captioner, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=rf"{tmp_path}/a\.png cannot be read as an? image"):
        captioner(tmp_path / "a.png", B, SEM_A, SEM_B)


@pytest.mark.parametrize("inputs", ["rgb", "maps", "both"])
def test_a_captioner_that_was_saved_says_the_same(tmp_path, inputs):
    before, pair = build(inputs), draw(1)
    before.save(tmp_path / "one")
    once = changecap.load(tmp_path / "one")
    once.save(tmp_path / "two")
    twice = changecap.load(str(tmp_path / "two"))
    assert (twice.inputs, twice.size) == (inputs, SIZE)
    assert before(*pair) == once(*pair) == twice(*pair)


def test_a_folder_without_a_captioner_is_explained(tmp_path):
    with pytest.raises(CheckpointError, match=f"no checkpoint in {tmp_path}"):
        changecap.load(tmp_path)


def test_changecap_answers_before_torch_is_there():
    script = "import sys, changecap; print('torch' in sys.modules, 'load' in dir(changecap)); print(changecap.load)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "False True"
    assert second.startswith("<function load")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'changecap' has no attribute 'lode'"):
        _ = changecap.lode


# How sentences are searched for


def test_n_best_sentences_come_with_the_best(captioner):
    caption = captioner(*draw(1), beams=4, decode={"num_return_sequences": 3})
    assert len(caption.others) == 2
    assert captioner(*draw(1), beams=4).score == caption.score >= caption.others[0].score >= caption.others[1].score
    assert len({caption.text, *(other.text for other in caption.others)}) == 3


def test_forced_words_are_said_and_bad_words_are_not(captioner):
    said = captioner(*draw(1), decode={"force_words": ["beside", "house"]})
    assert {"beside", "house"} <= set(said.words)
    plain = captioner(*draw(1))
    other = captioner(*draw(1), decode={"bad_words": [plain.words[0]]})
    assert plain.words[0] not in other.words


def test_a_length_penalty_ranks_by_mean_log_probability(captioner):
    settings = {"num_return_sequences": 4, "length_penalty": 1.0}
    caption = captioner(*draw(1), beams=4, decode=settings)
    means = [c.score / len(c.log_probabilities) for c in (caption, *caption.others)]
    assert means == sorted(means, reverse=True)


def test_drawn_captions_are_those_of_the_seed(captioner):
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return captioner(*draw(1), beams=1, decode={"do_sample": True, "temperature": 2.0}, generator=generator).text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("beams", "decode", "message"),
    [
        (len(WORDS) + 1, {}, f"a beam of {len(WORDS) + 1} is wider than the vocabulary of {len(WORDS)} words"),
        (3, {"force_words": ["huose"]}, f"force_words: 'huose' is not one of the {len(WORDS)} .*did you mean 'house'"),
        (3, {"bad_words": ["<end>"]}, "bad_words: a sentence must be able to end"),
        (3, {"force_words": "road"}, "force_words must be a list of words, got 'road'"),
        (3, {"lenght_penalty": 1.0}, "decode knows no 'lenght_penalty'; it knows .*length_penalty"),
        (3, {"max_length": 500}, "max_length=500, but this captioner says at most 128 words"),
        (3, {"top_k": 5}, "give do_sample=true"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused(captioner, beams, decode, message):
    with pytest.raises(ConfigError, match=message):
        captioner(*draw(1), beams=beams, decode=decode)
