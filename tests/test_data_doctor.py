import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changecap.cli.entry import main
from changecap.data import doctor
from changecap.data.formats import levir_cc, second_cc

SHARED = Path(os.environ.get("CHANGECAP_SHARED", Path(__file__).parents[2] / "shared")) / "captions"
PATHS = {"second_cc": "{split}/rgb/{date}/{name}", "levir_cc": "images/{split}/{date}/{name}"}


def noise(seed, height=24, width=32):
    """A picture that looks like no other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def entry(name, split="train", sentences=("a house is built",), **more):
    return {"filename": name, "split": split, "sentences": [{"raw": s} for s in sentences], **more}


def write(root, *entries, kind="levir_cc"):
    """A data set of these entries whose pictures all differ."""
    file = {"levir_cc": levir_cc, "second_cc": second_cc}[kind].CAPTIONS
    (root / file).write_text(json.dumps({"images": list(entries)}), encoding="utf-8")
    for i, e in enumerate(entries):
        for k, date in enumerate("AB"):
            save(root / PATHS[kind].format(split=e["split"], date=date, name=e["filename"]), noise(2 * i + k))
    return root


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def found(health, kind):
    return [(f.level, f.split, f.message) for f in health.findings if f.kind == kind]


def test_a_sound_data_set_has_no_findings(tmp_path):
    write(tmp_path, entry("a.png", changeflag=1), entry("b.png", "test", ["There is no difference ."], changeflag=0))
    health = doctor.examine("levir_cc", tmp_path)
    assert health.findings == []
    assert list(health.splits) == ["train", "test", "all"]
    assert health.splits["train"]["sizes"] == {"32 x 24": 1}
    assert health.no_change_sentences == {"there is no difference": 1}


def test_captions_are_counted_by_hand(tmp_path):
    write(
        tmp_path,
        entry("a.png", sentences=["a house is built", "a road"]),
        entry("b.png", sentences=["there is no difference"]),
        entry("c.png", "test", sentences=["a pond", "a road is gone"]),
    )
    splits = doctor.examine("levir_cc", tmp_path).splits
    train, test = splits["train"], splits["test"]
    assert (train["pairs"], train["captions"], train["distinct_captions"]) == (2, 3, 3)
    assert train["captions_per_pair"] == {"min": 1, "mean": 1.5, "median": 1.5, "max": 2, "sd": 0.5}
    assert (train["words"], train["vocabulary"], train["words_seen_once"]) == (10, 8, 6)
    assert (train["no_change_pairs"], train["no_change_share"]) == (1, 0.5)
    assert (train["unknown_words"], test["unknown_words"]) == (None, 2 / 6)
    assert (splits["all"]["captions"], splits["all"]["words_per_caption"]["max"]) == (5, 4)


def test_every_missing_file_is_reported_and_the_others_are_read(tmp_path):
    write(tmp_path, *(entry(f"{i}.png") for i in range(4)))
    for name in ("A/1.png", "B/2.png", "A/3.png", "B/3.png"):
        (tmp_path / "images/train" / name).unlink()
    health = doctor.examine("levir_cc", tmp_path)
    assert [f.kind for f in health.findings] == ["missing"] * 4
    assert health.errors == 4
    assert sum(health.splits["train"]["sizes"].values()) == 3


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no image", None])
def test_a_broken_image_is_an_error_that_stops_nothing(tmp_path, content):
    write(tmp_path, entry("a.png"), entry("b.png"))
    path = tmp_path / "images/train/A/a.png"
    path.write_bytes(path.read_bytes()[:150] if content is None else content)  # None: the copy was cut short
    health = doctor.examine("levir_cc", tmp_path)
    ((level, split, message),) = found(health, "unreadable")
    assert (level, split) == ("error", "train")
    assert str(path) in message
    assert health.splits["train"]["sizes"] == {"32 x 24": 2}


def test_images_that_training_would_refuse_are_unreadable_for_the_same_reason(tmp_path):
    write(tmp_path, *(entry(f"{name}.png") for name in ("cmyk", "deep", "gif", "jpeg")))
    folder, plain = tmp_path / "images/train/A", Image.fromarray(noise(99))
    plain.convert("CMYK").save(folder / "cmyk.png", "JPEG")
    Image.fromarray(np.full((24, 32), 900, np.uint16)).save(folder / "deep.png")
    plain.save(folder / "gif.png", "GIF", save_all=True, append_images=[Image.fromarray(noise(98))])
    plain.save(folder / "jpeg.png", "JPEG")  # is one, whatever its name
    health = doctor.examine("levir_cc", tmp_path)
    assert {f.kind for f in health.findings} == {"unreadable"}
    told = {Path(f.message.split()[0]).stem: f.message for f in health.findings}
    assert told.keys() == {"cmyk", "deep", "gif"}
    assert "mode CMYK; convert it to 8-bit RGB" in told["cmyk"]
    assert "mode I;16; convert it to 8-bit RGB" in told["deep"]
    assert "is an animation" in told["gif"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_files_that_may_not_be_read_are_errors(tmp_path):
    write(tmp_path, entry("a.png"))
    (tmp_path / "images/train/A/a.png").chmod(0)
    ((_, _, message),) = found(doctor.examine("levir_cc", tmp_path), "unreadable")
    assert "Permission denied" in message
    (tmp_path / levir_cc.CAPTIONS).chmod(0)
    ((_, _, message),) = found(doctor.examine("levir_cc", tmp_path), "captions")
    assert "Permission denied" in message


def test_partners_of_two_sizes_are_an_error(tmp_path):
    write(tmp_path, entry("a.png"))
    save(tmp_path / "images/train/B/a.png", noise(9, 24, 40))
    ((level, _, message),) = found(doctor.examine("levir_cc", tmp_path), "size")
    assert level == "error"
    assert "is 32 x 24 pixels, but" in message
    assert message.endswith("is 40 x 24")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty or broken JSON"), (b'{"images": [', "empty or broken"), (b'{"images": ["\xe9"]}', "not UTF-8")],
)
def test_a_caption_file_that_cannot_be_used_is_an_error(tmp_path, capsys, content, message):
    (tmp_path / levir_cc.CAPTIONS).write_bytes(content)
    assert main(["doctor", "data=levir_cc", f"data.root={tmp_path}", "format=json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["level"], finding["kind"]) == ("error", "captions")
    assert message in finding["message"]
    assert main(["doctor", "data=levir_cc", f"data.root={tmp_path / levir_cc.CAPTIONS}"]) == 1
    assert message in capsys.readouterr().out


def test_broken_entries_repeated_and_bare_pairs_are_each_reported_once(tmp_path):
    entries = [entry("a.png"), entry("a.png"), entry("b.png", "test", []), {"split": "train"}]
    write(tmp_path, *entries[:3])
    (tmp_path / levir_cc.CAPTIONS).write_text(json.dumps({"images": entries}))
    health = doctor.examine("levir_cc", tmp_path)
    messages = [message.split(": ", 1)[1] for _, _, message in found(health, "captions")]
    assert messages[0] == "a.png is listed twice in split train"
    assert messages[1].startswith("entry 3 of images")
    assert messages[2] == "b.png in split test has no caption, or an empty one"
    assert len(messages) == 3


def test_a_caption_of_400_words_is_a_warning(tmp_path):
    write(tmp_path, entry("a.png", sentences=["house " * 400]))
    health = doctor.examine("levir_cc", tmp_path)
    ((level, _, message),) = found(health, "long")
    assert level == "warning"
    assert message.startswith("a.png has a caption of 400 words: house house")
    assert len(message) < 120
    assert health.splits["train"]["words_per_caption"]["max"] == 400


def test_an_image_of_one_colour_is_a_warning(tmp_path):
    write(tmp_path, entry("a.png"))
    save(tmp_path / "images/train/B/a.png", np.zeros((24, 32, 3), np.uint8))
    health = doctor.examine("levir_cc", tmp_path)
    ((level, _, message),) = found(health, "blank")
    assert level == "warning"
    assert message.endswith("B/a.png is of the single colour (0, 0, 0)")
    assert health.errors == 0


def test_a_pair_in_two_splits_is_leakage(tmp_path):
    write(tmp_path, entry("a.png"), entry("b.png"), entry("c.png", "test"), entry("d.png", "test"))
    for date in "AB":
        (tmp_path / f"images/test/{date}/c.png").write_bytes((tmp_path / f"images/train/{date}/a.png").read_bytes())
    health = doctor.examine("levir_cc", tmp_path)
    assert found(health, "same") == [("warning", None, "the same pair of images: train/a.png, test/c.png")]
    assert found(health, "alike") == []
    assert (health.splits["test"]["same_in_train"], health.splits["train"]["same_in_train"]) == (1, None)
    assert health.splits["test"]["alike_in_train"] == 0


def test_a_pair_that_was_saved_anew_looks_the_same(tmp_path):
    write(tmp_path, entry("a.png"), entry("b.png"), entry("c.png", "test"))
    for k, date in enumerate("AB"):
        brighter = np.clip(noise(k).astype(int) // 2 + 40, 0, 255).astype(np.uint8)
        save(tmp_path / f"images/test/{date}/c.png", brighter)
    health = doctor.examine("levir_cc", tmp_path)
    assert found(health, "alike") == [("warning", None, "pairs that look the same: train/a.png, test/c.png")]
    assert health.splits["test"]["alike_in_train"] == 1
    assert health.splits["test"]["same_in_train"] == 0


def test_one_shared_date_is_no_repetition(tmp_path):
    write(tmp_path, entry("a.png"), entry("c.png", "test"))
    save(tmp_path / "images/test/A/c.png", noise(0))
    assert doctor.examine("levir_cc", tmp_path).findings == []


def test_clusters_are_those_that_comparing_all_with_all_finds():
    draw = random.Random(1)
    looks = [draw.getrandbits(128) for _ in range(60)]
    looks += [look ^ sum(1 << draw.randrange(128) for _ in range(draw.randrange(1, 4))) for look in looks]
    looks = list(dict.fromkeys(looks))
    clusters = doctor.clusters(looks)
    near = {frozenset((p, q)) for p in looks for q in looks if p != q and (p ^ q).bit_count() <= doctor.CLOSE}
    assert {frozenset(c) for c in clusters if len(c) == 2} == near
    assert sorted(look for c in clusters for look in c) == sorted(looks)


def test_ten_thousand_looks_are_compared_in_a_moment():
    draw = random.Random(2)
    looks = [draw.getrandbits(128) for _ in range(10_000)]
    assert len(doctor.clusters([*looks, looks[0] ^ 1])) == 10_000


@pytest.mark.parametrize(
    ("flag", "sentences", "said"),
    [
        (1, ["a road", "there is no difference"], "flagged as changed, but captioned 'there is no difference'"),
        (0, ["there is no difference", "a road"], "flagged as unchanged, but captioned 'a road'"),
        (None, ["there is no difference", "a road"], "has captions of a change, and 'there is no difference'"),
    ],
)
def test_captions_that_contradict_flag_or_each_other_are_warnings(tmp_path, flag, sentences, said):
    write(tmp_path, entry("a.png", sentences=sentences, changeflag=flag))
    health = doctor.examine("levir_cc", tmp_path)
    ((level, _, message),) = found(health, "flag")
    assert level == "warning"
    assert said in message


@pytest.mark.parametrize(("flag", "said"), [(1, "changed, but its maps show no"), (0, "unchanged, but its maps show")])
def test_maps_that_contradict_the_flag_are_a_warning(tmp_path, flag, said):
    write(
        tmp_path,
        entry("a.png", sentences=["there is no difference"] if not flag else ["a"], changeflag=flag),
        kind="second_cc",
    )
    for date in "AB":
        colour = (128, 0, 0) if date == "B" and not flag else (255, 255, 255)
        save(tmp_path / f"train/sem/{date}/a.png", np.full((24, 32, 3), colour, np.uint8))
    ((_, _, message),) = found(doctor.examine("second_cc", tmp_path), "flag")
    assert said in message


def test_a_mask_that_contradicts_the_flag_is_a_warning(tmp_path):
    write(tmp_path, entry("a.png", changeflag=1), entry("b.png", changeflag=1))
    save(tmp_path / "images/train/label/a.png", np.zeros((24, 32), np.uint8))
    save(tmp_path / "images/train/label/b.png", np.full((24, 32), 2, np.uint8))
    ((_, _, message),) = found(doctor.examine("levir_cc", tmp_path), "flag")
    assert message == "a.png is flagged as changed, but its mask shows no change"


def test_a_changed_pair_of_one_image_is_a_warning(tmp_path):
    write(tmp_path, entry("a.png"))
    save(tmp_path / "images/train/B/a.png", noise(0))
    ((_, _, message),) = found(doctor.examine("levir_cc", tmp_path), "flag")
    assert "both its images are the same" in message


@pytest.mark.parametrize(("mode", "level"), [("strict", "error"), ("nearest", "warning")])
def test_colours_off_the_palette_are_counted(tmp_path, mode, level):
    write(tmp_path, entry("a.png", changeflag=0, sentences=["there is no difference"]), kind="second_cc")
    for date in "AB":
        pixels = np.full((24, 32, 3), 255, np.uint8)
        pixels[0, :3] = 254
        save(tmp_path / f"train/sem/{date}/a.png", pixels)
    findings = found(doctor.examine("second_cc", tmp_path, mode), "palette")
    assert [f[0] for f in findings] == [level] * 2
    assert "3 pixels (0.4%) are off the SECOND palette" in findings[0][2]


def test_without_a_folder_of_maps_none_are_missed(tmp_path):
    write(tmp_path, entry("a.png"), kind="second_cc")
    assert doctor.examine("second_cc", tmp_path).findings == []


def test_images_that_no_caption_file_lists_are_a_warning(tmp_path):
    write(tmp_path, entry("a.png"))
    save(tmp_path / "images/train/A/more.png", noise(5))
    ((level, _, message),) = found(doctor.examine("levir_cc", tmp_path), "unlisted")
    assert level == "warning"
    assert message.endswith("A: 1 files are in no pair: more.png")


def test_a_folder_with_loops_and_names_that_differ_in_case_is_reported_whole(tmp_path):
    for k, name in enumerate(("A/x.png", "B/x.png", "A/Pic.png", "B/pic.png", "A/alone.png")):
        save(tmp_path / name, noise(k))
    try:
        (tmp_path / "A/self.png").symlink_to("self.png")
        (tmp_path / "B/loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system has no symbolic links")
    if len(list((tmp_path / "A").iterdir())) != 4 or (tmp_path / "A/pic.png").exists():
        pytest.skip("this file system does not tell upper case from lower")
    health = doctor.examine("folder", tmp_path)
    assert "B/pic.png differ only in case" in found(health, "names")[0][2]
    missing = {
        message.split(", but")[0].rsplit("/", 1)[-1] + message.split()[2] for _, _, message in found(health, "missing")
    }
    assert missing == {"BPic.png", "Apic.png", "Balone.png", "Aself.png", "Bself.png"}


def test_one_broken_split_keeps_no_other_from_being_examined(tmp_path):
    for k, name in enumerate(("train/A/x.png", "train/B/x.png", "val/A/y.png", "val/B/y.png")):
        save(tmp_path / name, noise(k))
    (tmp_path / "val/captions.json").write_text("{")
    health = doctor.examine("folder", tmp_path)
    assert [(f.kind, f.split) for f in health.findings] == [("captions", "val")]
    assert health.splits["train"]["pairs"] == 1


def test_the_status_is_one_on_errors_only(tmp_path, capsys):
    write(tmp_path, entry("a.png", changeflag=0))
    arguments = ["doctor", "data=levir_cc", f"data.root={tmp_path}"]
    assert main(arguments) == 0
    assert "0 errors, 1 warnings" in capsys.readouterr().out
    (tmp_path / "images/train/A/a.png").unlink()
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "error: 1 x files that are not there\n  [train] no image a.png in" in said
    assert main([*arguments, "format=json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert (content["errors"], content["warnings"], content["splits"]["train"]["pairs"]) == (1, 1, 1)


def test_the_table_shows_a_few_findings_of_a_kind(tmp_path):
    write(tmp_path, *(entry(f"{i}.png", changeflag=0) for i in range(8)))
    table = doctor.table(doctor.examine("levir_cc", tmp_path))
    assert "warning: 8 x flags, maps and captions that contradict each other" in table
    assert "and 3 more; format=json lists all" in table
    assert "\nsize in pixels" in table


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    for name in ("levir_cc", "second_cc", "dubai_cc", "folder"):
        health = doctor.examine(name, tmp_path / "nothing")
        assert (health.errors, health.splits) == (1, {})


def test_a_caption_file_of_karpathy_is_examined_without_images(tmp_path):
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({"images": [entry("a.png", sentences=["A house, built."]), entry("b.png", "val")]}))
    health = doctor.examine("second_cc", file)
    assert health.findings == []
    assert (health.splits["train"]["words"], health.splits["val"]["pairs"]) == (3, 1)


def test_a_plain_caption_file_is_split_by_its_names(tmp_path):
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({"captions": {"test_1": ["A road"], "train_1": ["x, y"], "trainyard": ["z"], "a": []}}))
    health = doctor.examine("folder", file)
    assert list(health.splits) == ["train", "test", "other", "all"]
    assert (health.splits["test"]["words"], health.splits["other"]["pairs"], health.splits["all"]["pairs"]) == (2, 2, 4)
    assert [(f.kind, f.split) for f in health.findings] == [("captions", "other"), ("words", "train")]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no captions at {SHARED}; set CHANGECAP_SHARED")
def test_the_captions_of_levir_cc_have_the_known_statistics():
    known = json.loads((SHARED / "LEVIR_stats.json").read_text())
    health = doctor.examine("levir_cc", SHARED / "levir_cc.json")
    assert health.errors == 0
    assert health.no_change_sentences == known["no_change_sentences"]
    assert set(health.splits) == set(known["splits"])
    for split, row in known["splits"].items():
        ours = health.splits[split]
        frequent = row["vocab_min_freq"]
        assert (ours["pairs"], ours["captions"], ours["words"]) == (row["pairs"], row["captions"], row["tokens"])
        assert ours["distinct_captions"] == row["distinct_captions"]
        assert (ours["vocabulary"], ours["words_seen_once"]) == (frequent["1"], frequent["1"] - frequent["2"])
        assert ours["no_change_pairs"] == row["no_change_pairs_all5"] == row["no_change_pairs_any"]
        assert round(ours["no_change_share"], 4) == row["no_change_share"]
        length = {key: round(value, 3) for key, value in ours["words_per_caption"].items()}
        assert length == {key: row["length_all"][key] for key in length}
        assert ours["captions_per_pair"]["mean"] == row["captions"] / row["pairs"]
        if "oov_token_rate_train_min1" in row:
            assert round(ours["unknown_words"], 6) == row["oov_token_rate_train_min1"]
