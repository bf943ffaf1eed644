import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published_files import resnet, write
from safetensors.torch import load_file
from torch import nn

import changecap
from changecap.checkpoints import checkpoint
from changecap.checkpoints.importing import import_checkpoint, summary
from changecap.checkpoints.unpickle import open_torch
from changecap.cli.entry import main
from changecap.errors import CheckpointError, ConfigError, DataError
from changecap.evaluation.parity import parity, table
from changecap.language.vocabulary import SPECIAL, read_words
from zoo.chg2cap import LEVIR_CC
from zoo.published import rename

GOLDEN = Path(__file__).parent / "golden"
MODELS = sorted(path.parent.parent.name for path in GOLDEN.glob("*/public/config.json"))
HEADS = {"chg2cap": {"heads": 4}}  # of the fixture; its authors publish state dicts, which do not say


def fixture_of(model):
    return GOLDEN / model / "public"


def bring(model, folder, **options):
    """Import what the authors of ``model`` would have saved of its fixture."""
    source, words = write(fixture_of(model), folder, **options)
    return import_checkpoint(model, source, words, folder / "out", HEADS.get(model))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("model", MODELS)
def test_what_the_authors_publish_gives_their_numbers(model, zipped, tmp_path):
    bring(model, tmp_path, zipped=zipped)
    assert "models_of_the_authors" not in sys.modules
    checks = parity(fixture_of(model), tmp_path / "out")
    assert all(check.ok for check in checks), table(checks)
    assert len(checks) == len(parity(fixture_of(model)))


@pytest.mark.parametrize("model", MODELS)
def test_the_folder_is_a_captioner_for_images(model, tmp_path):
    bring(model, tmp_path)
    captioner = changecap.load(tmp_path / "out")
    size = 96 if model == "psnet" else 256
    sem = () if captioner.inputs == "rgb" else (torch.zeros(size, size, dtype=torch.long),) * 2
    if model == "chg2cap":  # 8 columns of positions, of 32 pixels each
        assert captioner.model.encoder.position.columns.shape[0] == 8
    caption = captioner(*torch.rand(2, 3, size, size), *sem, beams=1)
    assert set(caption.words) <= set(captioner.vocabulary.words)
    assert captioner.vocabulary.words[:4] == ["<pad>", "<unk>", "<start>", "<end>"]


@pytest.mark.parametrize("model", MODELS)
def test_every_weight_is_used_or_known_to_be_dead(model, tmp_path):
    told = bring(model, tmp_path)
    source = torch.load(tmp_path / "theirs.pth", weights_only=True) if model == "chg2cap" else None
    state = load_file(fixture_of(model) / "state.safetensors")
    config = json.loads((fixture_of(model) / "config.json").read_text())
    names = rename(model, list(state), config["authors_arguments"], config["channels"])
    dead = {key for key, ours in names.items() if ours is None}
    assert {key for key in told["dead"] if not key.startswith("encoder_image.")} == dead
    if source is not None:
        assert told["used"] == len(state) - len(dead) + len(source["encoder_dict"])
    stored = checkpoint.read_config(tmp_path / "out")["provenance"]
    assert stored == told
    assert stored["file"] == "theirs.pth"
    assert stored["sha256"] == checkpoint.hash_file(tmp_path / "theirs.pth")
    said = summary(told)
    assert f"{len(told['dead'])} that the authors' code never uses" in said
    assert all(optimiser in told["left"] for optimiser in ("encoder_feat_optimizer",) if model != "chg2cap")


def test_head_counts_are_read_or_assumed_and_can_be_given(tmp_path):
    source, words = write(fixture_of("chg2cap"), tmp_path)
    told = import_checkpoint("chg2cap", source, words, tmp_path / "assumed")
    assert told["assumed"][:2] == ["heads = 8, as published", "decoder_heads = 8, as published"]
    assert changecap.load(tmp_path / "assumed").config["model"]["heads"] == 8
    given = import_checkpoint("chg2cap", source, words, tmp_path / "given", {"heads": 4, "decoder_heads": 2})
    arguments = changecap.load(tmp_path / "given").config["model"]
    assert (arguments["heads"], arguments["decoder_heads"]) == (4, 2)
    assert not any("heads" in what for what in given["assumed"])
    read = bring("psnet", tmp_path)
    arguments = changecap.load(tmp_path / "out").config["model"]
    assert (arguments["heads"], arguments["decoder_heads"], arguments["scale_heads"]) == (4, 4, 8)
    assert not any("heads" in what for what in read["assumed"])


def test_modules_that_disagree_about_their_heads_are_an_error(tmp_path):
    def change(content):
        content["decoder"]._modules["transformer"]._modules["layers"]._modules["0"]._modules["self_attn"].num_heads = 2

    with pytest.raises(CheckpointError, match=r"head counts disagree, \[2, 4\]; say which with model\.decoder_heads"):
        bring("rsiccformer", tmp_path, change=change)


def test_parts_wrapped_for_several_devices_are_unwrapped(tmp_path):
    def change(content):
        for name in ("encoder_image", "encoder_feat", "decoder"):
            content[name] = nn.DataParallel(content[name])

    bring("rsiccformer", tmp_path, change=change)
    assert all(check.ok for check in parity(fixture_of("rsiccformer"), tmp_path / "out"))


def test_a_file_without_an_image_encoder_becomes_a_captioner_for_feature_maps(tmp_path):
    told = bring("rsiccformer", tmp_path, change=lambda content: content.update(encoder_image=None))
    assert "no image encoder in the file: it takes feature maps of 64 channels, not images" in told["assumed"]
    with pytest.raises(DataError, match="this captioner has no image encoder"):
        changecap.load(tmp_path / "out")(*torch.rand(2, 3, 256, 256))
    assert all(check.ok for check in parity(fixture_of("rsiccformer"), tmp_path / "out"))


def test_of_the_projections_of_psnet_a_resnets_is_taken_where_the_image_encoder_is_one(tmp_path):
    def change(content):
        content["encoder_image"].net = resnet([64, 128, 256])

    bring("psnet", tmp_path, change=change)
    model = changecap.load(tmp_path / "out").model
    trained = load_file(fixture_of("psnet") / "state.safetensors")["encoder_feat.projection4.weight"]
    assert torch.equal(model.projection.weight, trained)


def test_without_an_image_encoder_the_four_projections_of_psnet_are_read_as_a_vits_and_that_is_told(tmp_path):
    told = bring("psnet", tmp_path, change=lambda content: content.update(encoder_image=None))
    assert "no image encoder in the file: it takes feature maps of 768 channels, not images" in told["assumed"]
    assert all(check.ok for check in parity(fixture_of("psnet"), tmp_path / "out"))


@pytest.mark.parametrize(("width", "kept"), [(1024, "projection"), (768, "projection2")])
def test_without_an_image_encoder_psnet_takes_maps_for_the_only_projection(width, kept, tmp_path):
    def change(content):
        content["encoder_image"] = None
        modules = content["encoder_feat"]._modules
        for name in [name for name in modules if name.startswith("projection") and name != kept]:
            del modules[name]

    told = bring("psnet", tmp_path, change=change)
    assert f"no image encoder in the file: it takes feature maps of {width} channels, not images" in told["assumed"]
    model = changecap.load(tmp_path / "out").model
    trained = load_file(fixture_of("psnet") / "state.safetensors")[f"encoder_feat.{kept}.weight"]
    assert torch.equal(model.projection.weight, trained)


@pytest.mark.parametrize(
    ("theirs", "said"), [("psnet", "rsiccformer"), ("mmodalcc", "rsiccformer"), ("chg2cap", "psnet")]
)
def test_a_checkpoint_of_another_model_is_recognised(theirs, said, tmp_path):
    source, words = write(fixture_of(theirs), tmp_path)
    with pytest.raises(CheckpointError, match=rf"is not a published {said}: .*; it is a {theirs}: give model={theirs}"):
        import_checkpoint(said, source, words, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_weight_of_no_known_name_is_an_error(tmp_path):
    def change(content):
        content["decoder_dict"]["extra.weight"] = torch.zeros(2)

    with pytest.raises(CheckpointError, match=r"1 keys are not of a published chg2cap: decoder_dict\.extra\.weight"):
        bring("chg2cap", tmp_path, change=change)


def test_weights_beside_the_known_parts_are_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="it has weights in 'critic', which a chg2cap has not"):
        bring("chg2cap", tmp_path, change=lambda content: content.update(critic={"weight": torch.zeros(2)}))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("wdc.bias", r"words\.head\.bias"),
        ("transformer.layers.0.norm1.weight", r"words\.layers\.0\.norm1\.weight"),
        ("vocab_embedding.weight", r"it has no decoder_dict\.vocab_embedding\.weight"),
    ],
)
def test_a_missing_weight_is_an_error(key, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        bring("chg2cap", tmp_path, change=lambda content: content["decoder_dict"].pop(key))


def test_a_map_of_words_of_another_size_is_an_error_that_names_both(tmp_path):
    source, words = write(fixture_of("mmodalcc"), tmp_path)
    words.write_text(json.dumps(json.loads(words.read_text()) | {"more": 60}))
    with pytest.raises(DataError, match=r"words\.json has 61 words, the weights in .*theirs\.pth were made for 60"):
        import_checkpoint("mmodalcc", source, words, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["<pad>", "a"], "is not a map of words"),
        ({"<pad>": 0, "a": "1"}, "is not a map of words"),
        ({"<pad>": 0, "<unk>": 1, "<start>": 2, "<end>": 4}, "must be all from 0 to 3, each once"),
        ({"<pad>": 0, "<unk>": 1, "<start>": 2, "a": 3}, "lacks <end>"),
        ({"<pad>": 0, "<unk>": 1, "<start>": 2, "<end>": 3, "<END>": 4}, "a special word twice"),
    ],
)
def test_what_is_no_map_of_words_is_refused(content, message, tmp_path):
    (tmp_path / "words.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_words(tmp_path / "words.json")


@given(st.permutations([*SPECIAL, "a", "house", "tree"]))
def test_special_words_come_first_and_the_others_keep_their_order(words):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "words.json"
        path.write_text(json.dumps({word: i for i, word in enumerate(words)}))
        ids = read_words(path)
    assert tuple(ids)[:4] == SPECIAL
    assert list(ids)[4:] == [word for word in words if word not in SPECIAL]
    assert all(words[i] == word for word, i in ids.items())


def test_a_folder_that_holds_a_checkpoint_is_left_alone(tmp_path):
    bring("chg2cap", tmp_path)
    before = (tmp_path / "out" / "config.json").read_bytes()
    with pytest.raises(ConfigError, match="holds a checkpoint or a run already"):
        import_checkpoint("chg2cap", tmp_path / "theirs.pth", tmp_path / "words.json", tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_bytes() == before


def test_the_command_line_imports_and_compares(tmp_path, capsys):
    source, words = write(fixture_of("chg2cap"), tmp_path)
    out = tmp_path / "out"
    call = ["import", "model=chg2cap", f"checkpoint={source}", f"vocabulary={words}", f"out={out}"]
    assert main([*call, "model.dim=4"]) == 2
    assert "the checkpoint says what model.dim is" in capsys.readouterr().err
    assert main(["import", "--help"]) == 0
    assert "model=chg2cap takes model.KEY=VALUE for: heads=8, decoder_heads=null\n" in capsys.readouterr().out
    assert main([*call[:1], *call[2:]]) == 2
    assert "import needs model=" in capsys.readouterr().err
    assert main([*call, "model.scale_heads=4"]) == 2
    assert "unknown key 'model.scale_heads'" in capsys.readouterr().err
    assert main([*call, "model.heads=4"]) == 0
    assert f"checkpoint: {out}" in capsys.readouterr().out
    assert main(["parity", f"fixture={fixture_of('chg2cap')}", f"checkpoint={out}"]) == 0
    assert "agrees with the authors' code" in capsys.readouterr().out
    assert main(["parity", f"fixture={fixture_of('psnet')}", f"checkpoint={out}"]) == 1
    assert "holds a chg2cap with other ids than the fixture's psnet" in capsys.readouterr().err


def test_the_image_encoders_keep_their_weights_and_places(tmp_path):
    bring("mmodalcc", tmp_path)
    ours = changecap.load(tmp_path / "out").model.backbones
    with open_torch(tmp_path / "theirs.pth") as file:
        for part, kind in (("encoder_image", "rgb"), ("encoder_image2", "sem")):
            place = file.content[part]
            for step in ("net", "5", "1", "conv2"):
                place = place.attributes["_modules"][step]
            theirs = file.read(place.attributes["_parameters"]["weight"])
            assert torch.equal(ours[kind].trunk.state_dict()["layer2.1.conv2.weight"], theirs)


@torch.no_grad()
def test_the_image_encoder_gives_the_authors_map(tmp_path):
    bring("chg2cap", tmp_path)
    theirs = nn.ModuleDict({"cnn": resnet([8, 16, 32, 64])})
    theirs.load_state_dict(torch.load(tmp_path / "theirs.pth", weights_only=True)["encoder_dict"])
    ours = changecap.load(tmp_path / "out").model.backbone.first
    x = torch.rand(1, 3, 64, 96)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) / 255 for value in LEVIR_CC)
    torch.testing.assert_close(ours(x), theirs["cnn"].eval()((x - mean) / std), atol=1e-4, rtol=1e-4)


def test_shapes_that_do_not_go_together_are_refused_before_they_take_memory(tmp_path):
    def change(content):  # a width of which the other weights would take terabytes
        content["decoder_dict"]["vocab_embedding.weight"] = torch.zeros(60, 200_000)

    with pytest.raises(CheckpointError, match="does not fill a chg2cap"):
        bring("chg2cap", tmp_path, change=change)


@pytest.mark.parametrize(
    ("key", "shape"), [("vocab_embedding.weight", ()), ("Conv1.weight", (3,)), ("position_encoding.pe", ())]
)
def test_a_weight_of_another_rank_is_refused(key, shape, tmp_path):
    with pytest.raises(CheckpointError, match="is not a published chg2cap"):
        bring("chg2cap", tmp_path, change=lambda content: content["decoder_dict"].update({key: torch.zeros(shape)}))


def test_weights_that_share_one_storage_are_refused_where_they_exceed_the_file(tmp_path):
    def change(content):
        one = torch.zeros(3_000_000)
        content["encoder_trans_dict"] = {
            key: one[: value.numel()].view(value.shape) for key, value in content["encoder_trans_dict"].items()
        } | {f"selftrans.{i}.0.att.to_q.weight": one for i in range(40)}

    with pytest.raises(CheckpointError, match="refused weights that are larger than the file"):
        bring("chg2cap", tmp_path, change=change)
