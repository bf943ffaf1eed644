import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo import published

VOCAB, SIDE = 23, 14


class Theirs(nn.Module):
    """The authors' code written out: the names of their weights, tokens first, 14 x 14 and 196 as they stand there."""

    def __init__(self, encoder, decoder):
        super().__init__()
        d, wide, self.first = encoder["d_model"], decoder["feature_dim"], encoder["feature_dim"]
        feat, words = nn.Module(), nn.Module()
        self.encoder_feat, self.decoder = feat, words
        feat.w_embedding, feat.h_embedding = nn.Embedding(encoder["w"], d // 2), nn.Embedding(encoder["h"], d // 2)
        feat.embedding_1D = nn.Embedding(encoder["h"] * encoder["w"], d)
        for name, width in {"": self.first, "2": 768, "3": 512, "4": 256}.items():
            setattr(feat, f"projection{name}", nn.Conv2d(width, d, 1))
        feat.transformer, feat.resblock, feat.LN = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for _ in range(encoder["n_layers"]):
            cross, res = self.block(d, encoder["n_head"], ["attention"]), nn.Module()
            res.left = nn.Sequential(
                *(nn.Conv2d(2 * d, d, 1), nn.BatchNorm2d(d), nn.ReLU()),
                *(nn.Conv2d(d, d, 3, padding=1), nn.BatchNorm2d(d), nn.ReLU()),
                *(nn.Conv2d(d, 2 * d, 1), nn.BatchNorm2d(2 * d)),
            )
            feat.transformer.append(cross)
            feat.resblock.append(res)
            feat.LN.append(nn.LayerNorm(2 * d))
        words.vocab_embedding, words.wdc = nn.Embedding(VOCAB, wide), nn.Linear(wide, VOCAB)
        words.transformer, words.position_encoding = nn.Module(), nn.Module()
        words.transformer.layers = nn.ModuleList()
        attentions = ["self_attn", "self_attn2", "multihead_attn", "multihead_attn2", "multihead_attn3"]
        for _ in range(decoder["n_layers"]):
            layer = self.block(wide, decoder["n_head"], attentions)
            layer.norm3 = nn.LayerNorm(wide)
            for i in (1, 2, 3):
                setattr(layer, f"fc_alpha{i}", nn.Linear(2 * wide, wide))
            words.transformer.layers.append(layer)
        table, place = torch.zeros(5000, wide), torch.arange(5000.0).unsqueeze(1)
        rate = torch.exp(torch.arange(0, wide, 2) * (-math.log(10000) / wide))
        table[:, 0::2], table[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
        words.position_encoding.pe = nn.Buffer(table.unsqueeze(1))
        words.position_encoding.embedding_1D = nn.Embedding(52, wide)

    @staticmethod
    def block(width, heads, attentions):
        block = nn.Module()
        for name in attentions:
            setattr(block, name, nn.MultiheadAttention(width, heads))
        block.norm1, block.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        block.linear1, block.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        return block

    def encode(self, a, b):
        feat = self.encoder_feat
        widths = {256: feat.projection4, 512: feat.projection3, 768: feat.projection2, self.first: feat.projection}
        if a.shape[1] in widths:
            a, b = (widths[a.shape[1]](x) for x in (a, b))
        rows, columns = torch.arange(a.shape[2]), torch.arange(a.shape[3])
        column = feat.w_embedding(columns).unsqueeze(0).repeat(len(rows), 1, 1)
        row = feat.h_embedding(rows).unsqueeze(1).repeat(1, len(columns), 1)
        position = torch.cat([column, row], dim=-1).permute(2, 0, 1)
        a, b = ((x + position).flatten(2).permute(2, 0, 1) for x in (a, b))
        batch, outputs = a.shape[1], []
        for layer in feat.transformer:
            d = b - a
            a, b = (self.ask(layer, x, d) for x in (a, b))
            outputs.append(torch.cat([a, b], dim=-1))
        y = torch.zeros(196, batch, 2 * a.shape[2])
        for out, res, norm in zip(outputs, feat.resblock, feat.LN, strict=True):
            x = (y + out).permute(1, 2, 0).view(batch, -1, 14, 14)
            y = norm(F.relu(x + res.left(x)).flatten(2).permute(2, 0, 1))
        return y

    @staticmethod
    def ask(layer, x, d):
        t = layer.norm1(x + layer.attention(x, d, d)[0])
        return layer.norm2(t + layer.linear2(F.relu(layer.linear1(t))))

    def decode(self, tokens, memory):
        words = self.decoder
        x = words.vocab_embedding(tokens.T) + words.position_encoding.pe[: tokens.shape[1]]
        mask = torch.full((len(x), len(x)), -torch.inf).triu(1)
        for layer in words.transformer.layers:
            s = layer.norm1(x + layer.self_attn(x, x, x, attn_mask=mask)[0])
            t = layer.norm2(s + layer.multihead_attn2(s, memory, memory)[0])
            x = layer.norm3(t + layer.linear2(F.relu(layer.linear1(t))))
        return words.wdc(x).transpose(0, 1)


def authors(d=8, first=24, layers=2, heads=2, depth=1, looks=4, side=SIDE):
    """Constructor arguments of the authors' two parts."""
    encoder = {"feature_dim": first, "dropout": 0.0, "h": side, "w": side, "d_model": d}
    return {
        "change_encoder": encoder | {"n_head": heads, "n_layers": layers},
        "decoder": {"feature_dim": 2 * d, "vocab_size": VOCAB, "n_head": looks, "n_layers": depth, "dropout": 0.0},
    }


def twins(arguments, channels):
    """Their model with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = Theirs(arguments["change_encoder"], arguments["decoder"])
    for value in (*theirs.parameters(), *(b for n, b in theirs.named_buffers() if "running" in n)):
        value.data += 0.2 * torch.rand_like(value)
    ours = zoo.create_model("rsiccformer", **published.arguments("rsiccformer", arguments, channels))
    ours.load_state_dict(published.convert("rsiccformer", theirs.state_dict(), arguments, channels))
    return theirs, ours


@pytest.fixture(
    params=[
        ({}, 24),
        ({"layers": 1, "heads": 1, "depth": 2, "looks": 8}, 24),
        ({"d": 6, "layers": 4, "heads": 3, "depth": 3, "looks": 2, "first": 5}, 5),
        ({"first": 1024}, 256),
        ({"first": 1024}, 512),
        ({"first": 1024, "layers": 3}, 768),
        ({"first": 512}, 512),
        ({"first": 1024}, 8),
        ({"first": 8}, 8),
        ({"side": 17}, 24),
    ],
    ids=str,
)
def shape(request):
    changes, channels = request.param
    return authors(**changes), channels


@pytest.fixture
def words():
    return torch.randint(0, VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))


def maps(channels, side=SIDE):
    return torch.randn(2, 2, channels, side, side, generator=torch.Generator().manual_seed(2))


def test_released_computes_what_the_authors_code_does_at_every_shape(shape, words):
    arguments, channels = shape
    theirs, ours = (model.eval() for model in twins(arguments, channels))
    a, b = maps(channels)
    with torch.no_grad():
        memory, found = theirs.encode(a, b), ours.encode(a, b)
        torch.testing.assert_close(published.outputs("rsiccformer", found)["memory"], memory, atol=2e-5, rtol=1e-4)
        logits = theirs.decode(words, memory)
        torch.testing.assert_close(ours.decode(words, found)[0], logits, atol=2e-5, rtol=1e-4)


def test_released_learns_what_the_authors_code_does_and_has_no_dead_weights(shape, words):
    arguments, channels = shape
    theirs, ours = twins(arguments, channels)
    ours.words.embedding_dropout.p = 0.0  # 0.1 whatever the arguments say
    a, b = maps(channels)
    ours(words, a, b).square().mean().backward()
    theirs.decode(words, theirs.encode(a, b)).square().mean().backward()
    parameters = dict(theirs.named_parameters())
    learnt = {key: p for key, p in ours.named_parameters() if p.grad is not None}
    assert learnt.keys() == dict(ours.named_parameters()).keys()
    for theirs_key, key in published.rename("rsiccformer", list(parameters), arguments, channels).items():
        expected = parameters[theirs_key].grad
        assert (expected is None) == (key is None), theirs_key
        if key is not None:
            torch.testing.assert_close(learnt[key].grad, expected, atol=1e-5, rtol=1e-3)
    buffers = dict(ours.named_buffers())
    for theirs_key, value in theirs.named_buffers():
        if "running" in theirs_key:
            key = published.rename("rsiccformer", [theirs_key])[theirs_key]
            torch.testing.assert_close(buffers[key], value)


def test_without_arguments_the_published_projection_is_the_one(words):
    keys = [f"encoder_feat.projection{i}.weight" for i in ("", 2, 3, 4)]
    assert published.rename("rsiccformer", keys) == dict.fromkeys(keys) | {keys[0]: "projection.weight"}


def test_parts_that_do_not_fit_are_refused():
    wide = authors()
    wide["decoder"]["feature_dim"] = 24
    with pytest.raises(ValueError, match="decoder width 24 is not twice the encoder's 8"):
        published.arguments("rsiccformer", wide, 24)
    oblong = authors()
    oblong["change_encoder"]["w"] = 15
    with pytest.raises(ValueError, match="square maps only, got h=14, w=15"):
        published.arguments("rsiccformer", oblong, 24)
    with pytest.raises(ValueError, match="maps of dim=8 channels, the backbone's have 20"):
        zoo.create_model("rsiccformer", **published.arguments("rsiccformer", authors(), 20))


SMALL = {"dim": 8, "heads": 2, "layers": 2, "dropout": 0.0, "image_size": 48}
TRUNK = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 12, 16, 20), "stem_width": 8}}


def build(**changes):
    torch.manual_seed(0)
    return zoo.create_model("rsiccformer", **{"vocab": VOCAB, "backbone": TRUNK} | SMALL | changes).eval()


FEATURES = {"backbone": {"name": "features", "channels": 5, "pool": None}, "image_size": 6}


def test_the_encoders_of_both_modes_agree_on_a_grid_that_neither_pools_nor_stretches(words):
    plain, released = build(**FEATURES), build(**FEATURES, released=True)
    released.load_state_dict(plain.state_dict())
    a, b = maps(5, 6)
    torch.testing.assert_close(plain.encode(a, b), released.encode(a, b))
    assert not torch.allclose(plain(words, a, b), released(words, a, b), atol=1e-3)  # embeddings are scaled, or not


def test_released_pools_every_image_to_14_by_14_and_the_default_keeps_the_grid():
    image = torch.rand(1, 3, 64, 40)
    assert build(released=True).encode(image, image)[0].shape == (1, 196, 16)
    assert build().encode(image, image)[0].shape == (1, 8 * 5, 16)


def test_a_smaller_grid_reads_the_first_rows_when_released_and_stretches_the_tables_by_default():
    smaller, whole = maps(5, 4), {}
    for released in (False, True):
        model = build(**FEATURES, released=released)
        cut = build(**FEATURES | {"image_size": 4}, released=released)
        state = model.state_dict()
        cut.load_state_dict(state | {k: state[k][:4] for k in ("position.columns", "position.rows")})
        whole[released] = torch.allclose(model.encode(*smaller)[0], cut.encode(*smaller)[0], atol=1e-5)
    assert whole == {False: False, True: True}


def test_the_layers_are_stacked_and_each_takes_its_own_difference():
    model = build(**FEATURES)
    given = []
    for layer in model.layers:
        layer.register_forward_hook(lambda module, args, out: given.append((*args, out)))
    model.encode(*maps(5, 6))
    (_, _, first), (dates, change, _) = given
    for date, out in zip(dates, first, strict=True):
        torch.testing.assert_close(date, out)
    for side in change:
        torch.testing.assert_close(side, first[1] - first[0])


def test_the_fusion_starts_as_a_comparison_by_default_alone():
    for released in (False, True):
        for fusion in build(released=released).fusions:
            before, after = fusion.left[0].weight.chunk(2, dim=1)
            assert torch.equal(after, -before) is not released


def test_position_tables_start_as_large_as_the_features_by_default_and_small_when_released():
    tables = [torch.cat([p.flatten() for p in build(image_size=256, released=r).position.parameters()]) for r in (0, 1)]
    assert tables[0].std() > 0.8
    assert tables[1].abs().max() <= (6 / (14 + 4)) ** 0.5  # Xavier's bound


def test_released_drops_words_at_a_tenth_and_the_default_as_everything_else():
    assert build(dropout=0.3).words.embedding_dropout.p == 0.3
    assert build(dropout=0.3, released=True).words.embedding_dropout.p == 0.1


def test_maps_that_need_no_projection_are_left_as_they_are():
    model = build(backbone={"name": "features", "channels": 8}, image_size=6, project=False)
    assert not [key for key in model.state_dict() if key.startswith("projection")]
    with pytest.raises(ValueError, match="maps of dim=8 channels, the backbone's have 5"):
        build(**FEATURES, project=False)


def test_arguments_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="leave out pre_norm"):
        build(released=True, pre_norm=True)
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        build(layers=0)
    with pytest.raises(ValueError, match="'rgb', 'maps' or 'both', got 'colour'"):
        build(inputs="colour")


def test_the_published_sizes_are_those_of_the_signature():
    with torch.device("meta"):
        model = zoo.create_model("rsiccformer", vocab=500, released=True)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    encoder = sum(sizes[part] for part in ("projection", "position", "layers", "fusions"))
    assert sizes["backbone"] == 27_535_424
    assert encoder == 21_125_632 - 888_320  # less what the authors' code never uses
    assert sizes["words"] == 36_764_148 - 18_942_976


def test_no_weight_is_stored_twice():
    for inputs in ("rgb", "maps", "both"):
        stored = [value for value in build(inputs=inputs).state_dict().values() if value.numel()]
        assert len({value.data_ptr() for value in stored}) == len(stored)
