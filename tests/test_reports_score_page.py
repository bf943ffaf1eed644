import base64
import io
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from changecap.language.facts import Fact
from changecap.reports.gallery import Sample, choose
from changecap.reports.score_page import report
from preprocess.pair import Pair

EVIL = "<script>alert('x')</script> & \"quotes\""
VOID = {"meta", "img", "br", "link", "input"}


METRICS = dict.fromkeys((*(f"Bleu_{n}" for n in range(1, 5)), "ROUGE_L"), 0.123)


def row(name, facts=None):
    missing = dict.fromkeys(("METEOR", "METEOR_exact_stem"))
    scores = METRICS | missing | {"CIDEr": 2.5}
    return {
        "name": name,
        "inputs": EVIL,
        **scores,
        "description": None if name == "constant" else scores,
        "canonical": scores,
        "flag": {"false_alarm": None, "miss": 0.25, "balanced_accuracy": None},
        "facts": facts,
        "said": {"distinct": 1234, "vocabulary": 5, "length": {"mean": 6.5, "min": 1, "max": 9}, "seen": None},
        "intervals": {"overall": {"CIDEr": [2.25, 2.75]}, "description": {"Bleu_4": [0.0625, 0.1875]}},
        "p": {} if name == "model" else {"overall": {"Bleu_4": 0.049, "CIDEr": 0.05}},
    }


def card():
    facts = dict(zip(("facts", "roles", "place", "count"), (0.9, 0.8, 0.7, 0.6), strict=True))
    return {
        "split": EVIL,
        "pairs": 3,
        "changed": 2,
        "inputs": EVIL,
        "beams": 1,
        "decode": {},
        "captions_per_second": 10.0,
        "notes": [EVIL],
        "rows": [row("model", facts), row("constant")],
    }


def made(sentence=EVIL, maps=True, changed=True, facts=()):
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randint(0, 256, (2, 3, 6, 8), generator=draw, dtype=torch.uint8)
    labels = torch.randint(0, 7, (2, 6, 8), generator=draw, dtype=torch.uint8)
    pair = Pair(a, b, *labels) if maps else Pair(a, b)
    return Sample(EVIL, pair, sentence, -2.0, (EVIL, "a house is built"), changed, 1.5, facts)


class Page(HTMLParser):
    """Tags, attributes and text; every tag must close where it should."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag == "p" and self.open[-1] != "p":
            raise AssertionError("stray </p>")
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    def build(samples, history=None):
        path = tmp_path / "report.html"
        report(path, card(), samples, history)
        return Page(path.read_text("utf-8"))

    return build


def pictures(page):
    for attrs in page.named("img"):
        head, data = attrs["src"].split(",")
        assert head == "data:image/png;base64"
        yield attrs["alt"], Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def test_pictures_are_the_pair_pixel_by_pixel(page):
    s = made()
    shown = dict(pictures(page({"Best": [s]})))
    assert list(shown) == ["before", "after", "map before", "map after"]
    assert shown["before"].tobytes() == bytes(s.pair.a.permute(1, 2, 0).flatten().tolist())
    assert shown["after"].tobytes() == bytes(s.pair.b.permute(1, 2, 0).flatten().tolist())
    opaque = torch.tensor(list(shown["map after"].getchannel("A").tobytes())).reshape(6, 8) > 0
    assert torch.equal(opaque, s.pair.sem_b > 0)


def test_a_pair_without_maps_shows_two_pictures(page):
    assert len(list(pictures(page({"Best": [made(maps=False)]})))) == 2


def test_no_string_becomes_markup(page):
    got = page({EVIL: [made()]})
    assert not got.named("script")
    text = "".join(got.text)
    # split, inputs (head, two rows of two tables), note, gallery, sentence, id, true sentence (seen and listed)
    assert text.count(EVIL) == 1 + 1 + 4 + 1 + 1 + 1 + 1 + 2


def test_nothing_is_fetched_from_outside(page, tmp_path):
    got = page({"Best": [made()]}, [{"step": 1, "loss": 2.0}, {"step": 9, "loss": 1.0}])
    for tag, attrs in got.tags:
        assert tag not in {"link", "script", "iframe"}
        assert attrs.get("src", "data:").startswith("data:")
        assert not attrs.get("href")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "url(" not in text
    assert "http" not in text


def test_facts_are_marked_right_and_wrong(page):
    true = (Fact("ground", "building", 2, "top left"), Fact("tree", "water", 1, "bottom"))
    got = page({"Best": [made("nothing that can be parsed", facts=true)]})
    chips = [attrs["class"] for attrs in got.named("span") if attrs.get("class", "").startswith("chip")]
    assert chips == ["chip right"] + ["chip wrong"] * 6
    text = "".join(got.text)
    assert "ground → building" in text
    assert "count 2" in text


def test_an_empty_gallery_is_left_out(page):
    got = page({"Best": [made()], "Wrong flag": []})
    assert "Wrong flag" not in got.text
    assert "Best" in got.text


def test_an_empty_sentence_is_shown_as_nothing(page):
    assert "nothing" in page({"Best": [made("")]}).text


def test_the_curve_needs_two_points_and_survives_odd_values(page):
    samples = {"Best": [made()]}
    assert not page(samples, [{"step": 1, "loss": 1.0}]).named("svg")
    odd = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 2.0}]
    both = [*odd, {"step": 2, "validation": {"CIDEr": 0.5}}, {"step": 3, "validation": {"CIDEr": 0.9}}]
    lines = [attrs["points"] for attrs in page(samples, both).named("polyline")]
    assert [len(points.split()) for points in lines] == [2, 2]
    assert len(page(samples, [{"step": 5, "loss": 0.0}] * 2).named("polyline")) == 1


def test_a_pair_without_pictures_shows_its_sentences(page):
    alone = Sample("p 1", None, "a house is built", None, ("a house appears",), True, 1.5, None)
    got = page({"Best": [alone]})
    assert not got.named("img")
    text = "".join(got.text)
    assert "a house is built" in text
    assert "probability" not in text
    assert "CIDEr* 1.50" in text


def test_a_baseline_that_is_no_different_is_marked_where_it_is_not(page):
    got = page({"Best": [made()]})
    assert len([i for i in got.named("i") if i.get("class") == "alike"]) == 1  # of its two figures with a p


def test_figures_of_the_model_have_their_intervals(page):
    text = "".join(page({"Best": [made()]}).text)
    assert "2.250 to 2.750" in text
    assert "0.062 to 0.188" in text


def test_galleries_hold_the_best_and_the_worst_and_no_pair_twice():
    per_pair = {f"c{i}": {"changed": True, "claimed": i != 3, "CIDEr": i / 10} for i in range(7)}
    per_pair |= {f"n{i}": {"changed": False, "claimed": i == 1, "CIDEr": 2.0} for i in range(3)}
    assert choose(per_pair, 2) == {
        "Best": ["c6", "c5"],
        "Worst": ["c0", "c1"],
        "No change": ["n0", "n2"],
        "Wrong flag": ["c3", "n1"],
    }
    assert choose({"c0": per_pair["c0"]})["Worst"] == []
    assert [len(ids) for ids in choose({i: per_pair[i] for i in ("c0", "c1", "c2")}).values()] == [2, 1, 0, 0]


def test_a_card_of_one_half_alone_shows(page):
    assert "\N{EN DASH}" in "".join(page({"Best": [made()]}).text)
