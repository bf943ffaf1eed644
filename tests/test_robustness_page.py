import csv
import re
from pathlib import Path

import pytest
from tiny_bench import BUILT, SAME, captioner, folder, small

import changecap
from changecap.cli.entry import main
from changecap.errors import DataError
from changecap.robustness.failures import pictures, worst
from changecap.robustness.findings import verdict
from changecap.robustness.grid import grid_of
from changecap.robustness.result import results


def sees(a, b):
    """Right on clean pairs; takes a darker picture for a change, and a much lighter one for none."""
    return [
        BUILT[0] if (y - x).mean() < -0.05 or ((y.max() > 0.95) and (y - x).mean() < 0.15) else SAME[0]
        for x, y in zip(a, b, strict=True)
    ]


ASKED = {
    "corruptions": "brightness,translation",
    "severities": (3, 5),
    "variants": ("none", "illuminate"),
    "pairs": 6,
    "clean_pairs": 6,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def data(root):
    return folder(root / "data", maps=True)


@pytest.fixture(scope="module")
def made(root, data):
    tried = {"sees": sees, "tiny <i>": captioner(), "maps": captioner(inputs="both")}
    return changecap.ablate(tried, data, root / "out", progress=False, **ASKED)


@pytest.fixture(scope="module")
def page(made):
    return made.page.read_text(encoding="utf-8")


def test_the_page_stands_alone(page):
    assert not re.search(r"<script|<link|(?:src|href)=['\"](?!data:)", page)
    assert page.count("<!doctype html>") == 1
    assert "<title>changecap: which captioner survives what</title>" in page


def test_the_page_says_everything_in_words_and_escapes_names(page, made):
    assert "tiny &lt;i&gt;" in page
    assert "<i>tiny" not in page
    for title in ("What is left of S*m", "False alarms", "By severity", "Cures", "Which maps go in", "Worst failures"):
        assert f"<h2>{title}</h2>" in page
    assert len(made.said) == 1 + 1 + 2 + 2 + 2
    assert all(line.endswith(".") for line in made.said)
    assert made.said[0].startswith("6 pairs of folder (test), 3 of them changed, were captioned under 2 corruptions")


def test_a_sentence_tells_whether_a_variant_is_accepted_and_why():
    row = {"captioner": "x", "variant": "register", "gain": 0.1, "gain_low": 0.05, "gain_high": 0.2, "cost": 0.001}
    head = {"clean_pairs": 1000}
    assert verdict(row | {"accepted": True}, head) == (
        "register is accepted for x: it gains +10.0 points of relative S*m [+5.0, +20.0] and costs 0.10 % of its S*m "
        "on 1,000 clean pairs."
    )
    dear = verdict(row | {"accepted": False, "cost": 0.02}, head)
    assert dear.startswith("register is not accepted for x, since its cost is not below 0.5 %: ")
    unsure = verdict(row | {"accepted": False, "gain_low": -0.01, "cost": 0.02}, {"clean_pairs": 99})
    assert "since its gain is not positive with confidence and its cost is not below 0.5 %: " in unsure
    assert unsure.endswith("99 clean pairs; fewer than 1,000 clean pairs tell a cost this small badly.")


def test_pictures_and_tables_lie_beside_the_page(made):
    folder = made.page.parent
    for name in ("heatmap.png", "curves.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    with (folder / "rows.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(made.rows) == 2 * (1 + 2 * 2) * 2
    assert float(lines[0]["sm4"]) == made.rows[0]["sm4"]
    assert lines[0]["level"] == ""
    tex = (folder / "summary.tex").read_text()
    assert tex.count(r" \\") == 1 + 2 * 2
    assert r"\begin{tabular}{ll" in tex
    columns = {line.count("&") for line in tex.splitlines() if line.endswith(r"\\")}
    assert len(columns) == 1


def test_the_table_can_be_written_as_csv(made, tmp_path):
    made.to_csv(tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_bytes() == (made.page.parent / "rows.csv").read_bytes()


def test_a_heat_map_has_a_cell_for_each_captioner_variant_and_corruption(page):
    first = page.split("<h2>What is left of S*m</h2>")[1].split("</table>")[0]
    assert first.count("<td") == 2 * 2 * 2


def test_the_worst_failures_are_flags_that_a_mild_corruption_turned(data, root):
    bench = small({"sees": sees}, data, root / "failures", **ASKED)
    bench.fill(progress=False)
    found = worst(bench, 2)
    assert [f.is_flag for f in found] == [True] * len(found)
    first = found[0]
    assert first.setting == min((f.setting for f in found), key=lambda setting: setting.severity)
    assert {f.id for f in worst(bench, 50)} >= {f.id for f in found}
    clean, worse = (pair for _, pair in pictures(bench, first))
    place = bench.pairs.ids.index(first.id)
    assert (clean.b == bench.pairs.images.b[place]).all()
    assert (worse.a == clean.a).all()
    assert (worse.b != clean.b).any()


def test_a_finished_folder_gives_the_same_tables_again(made, data, root):
    def silent(a, b):
        raise AssertionError("nothing is captioned again")

    tried = {"sees": silent, "tiny <i>": captioner(), "maps": captioner(inputs="both")}
    again = changecap.ablate(tried, data, root / "out", progress=False, **ASKED)
    assert (again.rows, again.summary, again.said) == (made.rows, made.summary, made.said)


def test_the_documented_callable_is_tried_in_five_lines(data):
    def mine(a, b):  # images (B, 3, H, W), float in [0, 1], before and after
        return ["a house is built" if y.mean() > x.mean() else "there is no difference" for x, y in zip(a, b)]  # noqa: B905

    table = changecap.ablate({"mine": mine}, data, corruptions="light", pairs=4, progress=False)
    assert {row["corruption"] for row in table.rows} == {"clean", *grid_of("light").corruptions}
    assert table.page is None
    assert (lines := Path(changecap.robustness.__file__).read_text()).count("def mine(a, b):") == 1
    assert 'changecap.ablate({"mine": mine}, data, corruptions="light", pairs=100)' in lines


def test_shards_leave_the_report_to_the_last_of_them(data, root):
    tried = {"sees": sees}
    first = changecap.ablate(tried, data, root / "shards", shard=(2, 2), progress=False, **ASKED)
    assert (first.rows, first.page, first.missing) == ([], None, 6)
    assert not (root / "shards" / "report.html").exists()
    last = changecap.ablate(tried, data, root / "shards", shard=(1, 2), progress=False, **ASKED)
    assert last.missing == 0
    assert last.page.is_file()


def test_held_out_corruptions_alone_make_a_report(data, root):
    made = changecap.ablate(
        {"sees": sees}, data, root / "held", progress=False, **ASKED | {"corruptions": "held_out", "severities": (2,)}
    )
    assert "Of the corruptions that are held out from training: sees keeps" in made.said[-1]
    assert any(line.startswith("On average sees keeps") for line in made.said)
    assert sum("illuminate is" in line and "accepted for sees" in line for line in made.said) == 1
    (cure,) = re.findall("<h2>Cures</h2>.*?</section>", made.page.read_text(encoding="utf-8"))
    assert re.search("<td>(yes|no)</td></tr>", cure)
    assert "sees & illuminate" in (root / "held" / "summary.tex").read_text()


def test_without_cures_nothing_is_said_of_them(data, root):
    made = changecap.ablate({"sees": sees}, data, root / "bare", progress=False, **ASKED | {"variants": ("none",)})
    page = made.page.read_text(encoding="utf-8")
    assert "<h2>Figures of merit</h2>" in page
    assert "Cures</h2>" not in page


def test_pairs_of_one_kind_make_a_report(root):
    data = folder(root / "one", count=1)  # unchanged
    made = changecap.ablate({"same": lambda a, b: [SAME[0]] * len(a)}, data, root / "kind", progress=False, **ASKED)
    assert made.page.is_file()
    assert made.rows[0]["miss"] is None
    assert made.rows[0]["false_alarm"] == 0


def test_a_full_disk_at_the_report_is_said(data, root, monkeypatch):
    bench = small({"sees": sees}, data, root / "full", **ASKED)
    bench.fill(progress=False)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("changecap.robustness.result.write_whole", full)
    with pytest.raises(DataError, match="the disk is full; what is finished is kept"):
        results(bench, root / "full")


def test_the_command_line_writes_the_report_and_names_what_it_does_not_know(data, root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    captioner(0).save(root / "cc-0")
    captioner(1).save(root / "cc-1")
    few = ["severities=3", "variants=none", "pairs=4", "clean_pairs=5", "data=folder", f"data.root={data['root']}"]
    call = ["ablate", "checkpoint=cc-0,cc-1", "corruptions=gamma", "out=ablation", *few]
    assert main([*call, "shard=2/2"]) == 0
    assert "2 cells are left to other shards" in capsys.readouterr().out
    assert main(call) == 0
    said = capsys.readouterr().out
    assert "report: ablation/report.html" in said
    assert "4 pairs of folder (test)" in said
    for argument, message in (
        ("corruptions=gama", "unknown corruption 'gama', did you mean 'gamma'?"),
        ("shard=3/2", "shard must be i/n with i from 1 to n, such as 1/4, got '3/2'"),
        ("severities=x", "severities must be 1 whole numbers"),
        ("checkpoint=nothing", "there is no nothing"),
    ):
        key = argument.split("=")[0]
        assert main([*(a for a in call if not a.startswith(f"{key}=")), argument]) in (1, 2)
        assert message in capsys.readouterr().err
