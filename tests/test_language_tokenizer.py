"""A tokenizer that is no word list goes through every door that the word list goes through."""

import hashlib
import json

import numpy as np
import pytest
import torch
from training_runs import assert_same, at_step, describe, everything, run, write_pairs

import changecap
import zoo
from changecap.checkpoints import checkpoint
from changecap.data.augmentation import Augmentation, chains
from changecap.errors import CheckpointError, ConfigError
from changecap.inference.decoding import Decoding
from changecap.inference.search import search
from changecap.language import tokenizer as tokenizers
from changecap.language.tokenizer import encode_sentence, without_special
from changecap.language.vocabulary import Vocabulary
from changecap.robustness.captioners import _weights
from changecap.training.loop import train
from preprocess import Pair

TEXTS = ["a house is built", "no change"]


class Letters:
    """One id a letter; the special ids lie elsewhere than those of a word list, and none is unknown."""

    kind = "letters"
    unk = None

    def __init__(self, letters):
        self.letters = letters
        self.eos, self.pad, self.bos = len(letters), len(letters) + 1, len(letters) + 2

    @classmethod
    def load(cls, path):
        return cls(json.loads(path.read_bytes()))

    @property
    def hash(self):
        return hashlib.sha256(self.dump()).hexdigest()

    def __len__(self):
        return len(self.letters) + 3

    def encode(self, text):
        return [self.letters.index(letter) for letter in text if letter in self.letters]

    def decode(self, ids):
        return "".join(self.pieces(without_special(self, ids)))

    def pieces(self, ids):
        return [[*self.letters, "[end]", "[pad]", "[begin]"][i] for i in ids]

    def dump(self):
        return json.dumps(self.letters).encode()


LETTERS = Letters("etaoinshrdlcumwfgypbvk ")


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(tokenizers, "_classes", dict(tokenizers._classes))
    tokenizers.register("letters", f"{__name__}:Letters")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def build(letters, ending=-1.0):
    """A captioner that says neither the beginning nor the padding, as none that was trained does."""
    torch.manual_seed(0)
    backbone = {"name": "resnet10t", "stride": 8, "options": {"channels": [4, 8, 12, 16], "stem_width": 4}}
    arguments = {"name": "rsiccformer", "dim": 16, "heads": 2, "layers": 1, "image_size": 32, "backbone": backbone}
    model = zoo.create_model(vocab=len(letters), **arguments).eval()
    torch.nn.init.normal_(model.words.head.weight, std=0.5)
    model.words.head.bias.data[[letters.bos, letters.pad]] = -1e4
    model.words.head.bias.data[letters.eos] = ending
    return changecap.Captioner(model, letters, {"model": arguments, "inputs": "rgb", "size": 32})


@pytest.fixture
def captioner():
    return build(LETTERS)


def images(count=2):
    return Pair(*torch.rand(2, count, 3, 32, 32, generator=torch.Generator().manual_seed(0)), None, None)


def letters_run(root, out, **changes):
    # only the training split is learned of, and its captions are longer in letters than in words
    return train(describe(root, out, **changes), progress=False, tokenizer=LETTERS)


def test_a_run_learns_its_ids_and_its_folder_gives_them_back(root, tmp_path):
    out = letters_run(root, tmp_path / "run", epochs=1)
    captioner = changecap.load(out)
    assert isinstance(captioner.vocabulary, Letters)
    assert captioner.vocabulary.hash == LETTERS.hash
    assert captioner.model.words.head.bias.shape == (len(LETTERS),)
    config = json.loads((out / "best/config.json").read_text())
    assert config["tokenizer"] == {"kind": "letters", "hash": LETTERS.hash}
    a, b = np.random.default_rng(0).integers(1, 255, (2, 32, 32, 3), dtype=np.uint8)
    flat = np.zeros((32, 32), dtype=np.uint8)
    assert set(captioner(a, b, flat, flat).text) <= set(LETTERS.letters)


def test_an_interrupted_run_resumes_with_its_own_tokenizer(root, tmp_path, monkeypatch):
    whole = everything(letters_run(root, tmp_path / "whole", epochs=1))

    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        at_step(patch, 2, stop)
        with pytest.raises(KeyboardInterrupt):
            letters_run(root, tmp_path / "cut", epochs=1, validate_every=1)
    config = json.loads((tmp_path / "cut/config.json").read_text())
    assert "tokenizer" not in config
    cut = run({"resume": str(tmp_path / "cut")})
    assert checkpoint.load(cut / "last")[1].hash == LETTERS.hash
    weights = {name: value for name, value in whole.items() if name.startswith("/weights/last")}
    assert_same(weights, {name: value for name, value in everything(cut).items() if name in weights})


def test_captions_too_long_for_the_model_are_refused_before_training(root, tmp_path):
    model = {"name": "mmodalcc", "dim": 16, "heads": 2, "layers": 1, "max_words": 12}
    with pytest.raises(ConfigError, match=r"a caption has \d+ words, start counted, and the model says at most 12"):
        letters_run(root, tmp_path / "run", model=model)


def test_augmented_captions_are_its_ids_with_beginning_and_end():
    augment = Augmentation(chains({"steps": ["flip"]})[1], [["a house on the left"]], LETTERS, seed=0)
    seen = set()
    for step in range(20):
        _, captions, _ = augment(images(1), [0], step)
        (ids,) = captions[0]
        assert (ids[0], ids[-1]) == (LETTERS.bos, LETTERS.eos)
        seen.add(LETTERS.decode(ids))
    assert {"a house on the left", "a house on the right"} <= seen


def test_a_caption_has_a_piece_and_a_probability_for_each_id(captioner):
    for caption in captioner.caption(images(), beams=3, attend=True, decode={"max_length": 12}):
        assert "".join(caption.words) == caption.text
        assert len(caption.words) <= len(caption.log_probabilities) <= len(caption.words) + 1
        assert caption.attention.shape[0] == len(caption.words) > 0


def test_a_forced_word_of_several_ids_is_said_whole(captioner):
    plain = captioner.caption(images(), beams=8, decode={"max_length": 20})
    assert not any("roof" in caption.text for caption in plain)
    for words in (["roof"], ["roof", "me"]):
        for caption in captioner.caption(images(), beams=8, decode={"max_length": 20, "force_words": words}):
            assert all(word in caption.text for word in words), caption.text


def test_a_forbidden_word_of_several_ids_is_not_said_and_its_letters_are(captioner):
    plain = captioner.caption(images(), beams=4, decode={"max_length": 12, "force_words": ["h", "o"]})
    for row, caption in enumerate(plain):
        at = next(i for i in range(len(caption.text) - 1) if caption.text[i] in "ho")
        pair = caption.text[at : at + 2]
        settings = {"max_length": 12, "force_words": ["h", "o"], "bad_words": [pair]}
        other = captioner.caption(images(), beams=4, decode=settings)[row]
        assert pair not in other.text
        assert {"h", "o"} <= set(other.text)


def test_the_search_of_a_forced_phrase_finds_the_best_sentence_that_holds_it():
    """Against all sentences of up to three letters."""
    small = Letters("ab")
    model = build(small, ending=1.0).model
    memory = model.encode(*images(1)[:2])
    forced = (tuple(small.encode("ab")),)
    decoding = Decoding(beams=5, max_length=5, force_words=forced)
    best = search(model, memory, decoding, start=small.bos, end=small.eos)[0].best()

    scores = {}
    for text in ("ab", "aab", "bab", "aba", "abb"):
        words = torch.tensor([encode_sentence(small, text)])
        with torch.no_grad():
            steps = model.decode(words[:, :-1], memory)[0].log_softmax(-1)
        scores[text] = steps.gather(2, words[:, 1:, None]).sum().item()
    assert best.finished
    assert small.decode(best.ids) == max(scores, key=scores.get)
    assert best.score == pytest.approx(max(scores.values()), abs=1e-4)


def test_a_word_it_has_no_ids_for_is_refused(captioner):
    with pytest.raises(ConfigError, match=r"force_words: 'Häuser' is not one of the 26 words it knows"):
        captioner.decoding(8, {"force_words": ["Häuser"]})


def test_a_forced_word_that_holds_a_forbidden_one_is_refused(captioner):
    with pytest.raises(ConfigError, match="force_words and bad_words share"):
        captioner.decoding(8, {"force_words": ["roof"], "bad_words": ["oo"]})
    with pytest.raises(ConfigError, match="force_words of 4 ids need a beam of at least 5, got beams=4"):
        captioner.decoding(4, {"force_words": ["roof"]})


def test_a_saved_captioner_answers_as_before(captioner, tmp_path):
    captioner.save(tmp_path)
    assert {"tokenizer.bin", "model.safetensors", "config.json"} <= {path.name for path in tmp_path.iterdir()}
    again = changecap.load(tmp_path)
    texts = [caption.text for caption in captioner.caption(images())]
    assert [caption.text for caption in again.caption(images())] == texts


def test_weights_with_another_tokenizer_are_another_captioner_under_test(captioner):
    other = Letters("teaoinshrdlcumwfgypbvk ")
    swapped = changecap.Captioner(captioner.model, other, captioner.config)
    assert _weights(swapped) != _weights(captioner)


def test_a_kind_that_is_not_known_here_is_named(captioner, tmp_path, monkeypatch):
    captioner.save(tmp_path)
    monkeypatch.delitem(tokenizers._classes, "letters")
    with pytest.raises(CheckpointError, match="its tokenizer is of kind 'letters', which is not known here, only") as e:
        changecap.load(tmp_path)
    assert str(tmp_path) in str(e.value)


def test_a_kind_whose_package_is_gone_is_named(captioner, tmp_path, monkeypatch):
    captioner.save(tmp_path)
    monkeypatch.setitem(tokenizers._classes, "letters", "no_such_package:Letters")
    with pytest.raises(CheckpointError, match="no_such_package:Letters, which cannot be had: No module named"):
        changecap.load(tmp_path)


def test_a_class_that_makes_other_ids_of_the_same_file_is_refused(captioner, tmp_path, monkeypatch):
    captioner.save(tmp_path)
    monkeypatch.setattr(Letters, "load", classmethod(lambda cls, path: cls("abc")))
    with pytest.raises(CheckpointError, match="gives other ids here than when it was saved"):
        changecap.load(tmp_path)


def test_two_classes_of_one_kind_are_refused():
    tokenizers.register("letters", f"{__name__}:Letters")  # once more is no other
    with pytest.raises(ConfigError, match=r"the tokenizer kind 'letters' is .*:Letters already, it cannot be other:It"):
        tokenizers.register("letters", "other:It")


@pytest.mark.parametrize("tokenizer", [LETTERS, Vocabulary.build(TEXTS)], ids=["letters", "words"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_tokenizer_gives_a_text_back_and_adds_no_ends(tokenizer, text):
    ids = tokenizer.encode(text)
    assert not {tokenizer.bos, tokenizer.eos, tokenizer.pad} & set(ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([*encode_sentence(tokenizer, text), ids[0]]) == text
    assert len(tokenizer.pieces(ids)) == len(ids)
