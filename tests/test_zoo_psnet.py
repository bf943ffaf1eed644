import math

import pytest
import torch
from torch import nn

import zoo
from zoo import published

WIDTHS = {1024: "projection", 768: "projection2", 512: "projection3", 256: "projection4"}
# channels, grid, side of the position tables; d, heads of PDP, SR and decoder; layers of encoder and decoder; words
SHAPES = [
    (768, 3, 3, 16, 4, 8, 4, 3, 3, 13),
    (1024, 4, 6, 12, 3, 8, 6, 4, 1, 9),
    (512, 1, 1, 8, 1, 2, 16, 3, 5, 5),
    (256, 2, 7, 20, 5, 4, 2, 5, 2, 30),
]


def build(**kwargs):
    torch.manual_seed(0)
    small = {"dim": 8, "heads": 2, "dropout": 0.0, "image_size": 3, "backbone": {"name": "features", "channels": 5}}
    return zoo.create_model("psnet", vocab=11, **small | kwargs).eval()


@pytest.fixture
def maps():
    return torch.randn(2, 3, 5, 3, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def words():
    return torch.randint(0, 11, (3, 6), generator=torch.Generator().manual_seed(2))


def authors_arguments(table, d, heads, scale_heads, decoder_heads, layers, decoder_layers, vocab):
    """What the authors' constructors are given."""
    encoder = {"h": table, "w": table, "feature_dim": 1, "dropout": 0.8, "d_model": d, "n_head": heads}
    decoder = {"feature_dim": 2 * d, "vocab_size": vocab, "n_head": decoder_heads, "n_layers": decoder_layers}
    return {
        "change_encoder": encoder | {"n_layers": layers},
        "scale_aware": {"d_model": 2 * d, "n_head": scale_heads},
        "decoder": decoder | {"dropout": 0.5},
    }


def authors_modules(parts):
    """Torch's own blocks under the authors' names, some of those they never use among them."""
    encoder, decoder = parts["change_encoder"], parts["decoder"]
    d, table, e = encoder["d_model"], encoder["h"], decoder["feature_dim"]

    def attention(heads):
        return nn.MultiheadAttention(e, heads)

    def block(attentions, norms, linears):
        made = {name: attention(heads) for name, heads in attentions.items()}
        made |= {f"norm{i}": nn.LayerNorm(e) for i in range(1, norms + 1)}
        made |= {f"linear{i}": nn.Linear(*((e, 4 * e) if i % 2 else (4 * e, e))) for i in range(1, linears + 1)}
        return nn.ModuleDict(made)

    scale_heads, heads = parts["scale_aware"]["n_head"], decoder["n_head"]
    levels, depth = range(encoder["n_layers"]), range(decoder["n_layers"])
    feat = {name: nn.Conv2d(channels, d, 1) for channels, name in WIDTHS.items()}
    feat |= {name: nn.Embedding(table, d // 2) for name in ("w_embedding", "h_embedding")}
    feat["embedding_1D"] = nn.Embedding(table * table, d)
    feat["transformer_concatlength"] = nn.ModuleList(
        nn.TransformerEncoderLayer(e, encoder["n_head"], 4 * d, dropout=0.0) for _ in levels
    )
    feat["linear_list"] = nn.ModuleList(nn.Linear(e, d) for _ in levels)
    asked = dict.fromkeys(("attention_1", "attention_2"), scale_heads)
    feat["Scale_aware_list"] = nn.ModuleList(block(asked, 3, 4) for _ in levels)
    asked = dict.fromkeys(("self_attn", "multihead_attn", "multihead_attn2"), heads)
    said = {
        "vocab_embedding": nn.Embedding(decoder["vocab_size"], e),
        "transformer": nn.ModuleList(block(asked, 5, 2) for _ in depth),
        "wdc": nn.Linear(e, decoder["vocab_size"]),
    }
    return nn.ModuleDict({"encoder_feat": nn.ModuleDict(feat), "decoder": nn.ModuleDict(said)})


def second_way(modules, a, b, words, released=True):
    """Memory ``(N, B, D, levels)`` and logits, from the specification line by line; or the default in the same way."""
    feat, said = modules["encoder_feat"], modules["decoder"]
    project, g = feat[WIDTHS[a.shape[1]]], a.shape[-1]
    column = feat["w_embedding"].weight[:g].expand(g, g, -1)
    row = feat["h_embedding"].weight[:g].unsqueeze(1).expand(g, g, -1)
    place = torch.cat([column, row], dim=-1).permute(2, 0, 1)
    o1, o2 = ((project(x) + place).flatten(2).permute(2, 0, 1) for x in (a, b))
    f = []
    for transformer, linear in zip(feat["transformer_concatlength"], feat["linear_list"], strict=True):
        change = o2 - o1
        o1 = linear(transformer(torch.cat([o1, change], dim=-1)))
        o2 = linear(transformer(torch.cat([o2, o2 - o1 if released else change], dim=-1)))
        f.append(torch.cat([o1, o2], dim=-1))
    g = []
    for q, others, sa in zip(f[:3], ((1, 2), (0, 2), (0, 1)), feat["Scale_aware_list"][:3], strict=True):
        kv = torch.cat([sa["norm1"](f[k]) for k in others])
        m = sa["attention_1"](sa["norm1"](q), kv, kv)[0]
        q, m = (q, m) if released else (q + m, q + m)
        g.append(q + sa["linear2"](sa["linear1"](sa["norm2"](m)).relu()))
    memory = torch.stack(g, dim=-1)

    x = said["vocab_embedding"](words.T)  # (T, B, E)
    length, _, e = x.shape
    if not released:
        x = x * math.sqrt(e)
    angle = torch.arange(length).unsqueeze(1) / 10000 ** (torch.arange(0, e, 2) / e)
    pe = torch.zeros(length, e)
    pe[:, 0::2], pe[:, 1::2] = angle.sin(), angle.cos()
    x = x + pe.unsqueeze(1)
    later = torch.full((length, length), -torch.inf).triu(1)
    for j, layer in enumerate(said["transformer"]):
        level = memory[..., 2 - j]
        x = layer["norm1"](x + layer["self_attn"](x, x, x, attn_mask=later)[0])
        x = layer["norm2"](x + layer["multihead_attn2"](x, level, level)[0])
        x = layer["norm3"](x + layer["linear2"](layer["linear1"](x).relu()))
    return memory, said["wdc"](x).transpose(0, 1)


def both_ways(shape, **changes):
    """Our model with the weights of the second way, and that way's modules, maps and words."""
    channels, grid, *rest = shape
    torch.manual_seed(3)
    parts = authors_arguments(*rest)
    modules = authors_modules(parts)
    for p in modules.parameters():
        p.data += 0.1 * torch.randn_like(p)  # zeros and ones would hide what they are added to and multiplied by
    arguments = published.arguments("psnet", parts, channels) | {"dropout": 0.0, "scale_dropout": 0.0} | changes
    model = zoo.create_model("psnet", **arguments)
    model.load_state_dict(published.convert("psnet", modules.state_dict(), parts, channels))
    a, b = torch.randn(2, 2, channels, grid, grid)
    words = torch.randint(0, rest[-1], (2, 8))
    return model, modules, (parts, channels), (a, b), words


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_released_computes_what_the_specification_says(shape):
    model, modules, _, pair, words = both_ways(shape)
    model.eval()
    with torch.no_grad():
        memory = model.encode(*pair)
        expected, logits = second_way(modules, *pair, words)
        torch.testing.assert_close(published.outputs("psnet", memory)["memory"], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.decode(words, memory)[0], logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_released_has_the_gradients_of_the_specification(shape):
    model, modules, authors, pair, words = both_ways(shape)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    model(words, *pair).square().mean().backward()
    second_way(modules, *pair, words)[1].square().mean().backward()
    ours, theirs = dict(model.named_parameters()), dict(modules.named_parameters())
    names = published.rename("psnet", list(theirs), *authors)
    assert {name for name in names.values() if name} == ours.keys()
    for key, parameter in theirs.items():
        if names[key] is None:
            assert parameter.grad is None, key
        elif ours[names[key]].grad is None:  # of a scale that no layer reads
            assert parameter.grad is None or not parameter.grad.any(), key
        else:
            torch.testing.assert_close(ours[names[key]].grad, parameter.grad, atol=1e-6, rtol=1e-4, msg=key)


def test_by_default_both_dates_see_the_same_difference_and_a_scale_keeps_what_it_looked_at():
    model, modules, _, pair, words = both_ways(SHAPES[0], released=False)
    model.eval()
    with torch.no_grad():
        expected, logits = second_way(modules, *pair, words, released=False)
        memory = published.outputs("psnet", model.encode(*pair))["memory"]
        torch.testing.assert_close(memory, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model(words, *pair), logits, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(memory, second_way(modules, *pair, words)[0], atol=1e-2)


@pytest.mark.parametrize("released", [False, True])
def test_dates_that_are_equal_stay_so_unless_the_second_is_compared_with_the_changed_first(maps, released):
    layer = build(released=released).layers[0]
    tokens = torch.randn(1, 4, 8)
    a, b = layer(tokens, tokens)
    assert torch.allclose(a, b, atol=1e-6) is not released


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("decoder_layers", [1, 3, 5])
def test_every_parameter_learns_however_many_scales_and_readers_there_are(
    maps, words, layers, decoder_layers, pre_norm
):
    model = build(layers=layers, decoder_layers=decoder_layers, pre_norm=pre_norm).train()
    assert len(model.encode(*maps)) == min(layers, decoder_layers)
    model(words, *maps).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_readers_go_from_the_deepest_scale_to_the_shallowest_and_around(maps):
    model = build(layers=3, decoder_layers=4)
    memory, x = model.encode(*maps), torch.ones(3, 2, 16)

    def read(reader, scale):
        blank = tuple(m * 0 if i == scale else m for i, m in enumerate(memory))
        return not torch.equal(reader(x, blank, None)[0], reader(x, memory, None)[0])

    assert [[i for i in range(3) if read(reader, i)] for reader in model.words.layers] == [[2], [1], [0], [2]]


def test_a_single_reader_has_the_deepest_scale(maps):
    many, one = build(decoder_layers=3), build(decoder_layers=1)
    state = {key.replace("scales.2.", "scales.0."): value for key, value in sorted(many.state_dict().items())}
    one.load_state_dict({key: state[key] for key in one.state_dict()})
    (memory,) = one.encode(*maps)
    torch.testing.assert_close(memory, many.encode(*maps)[2])


def test_a_single_scale_is_read_as_it_is(maps):
    model = build(layers=1)
    seen = []
    model.layers[0].register_forward_hook(lambda module, args, dates: seen.append(torch.cat(dates, dim=2)))
    (memory,) = model.encode(*maps)
    assert torch.equal(memory, seen[0])


def test_every_scale_looks_at_the_deepest(maps):
    model = build(layers=4, decoder_layers=4)
    before = model.encode(*maps)
    model.layers[3].register_forward_hook(lambda module, args, dates: (dates[0], dates[1] + torch.arange(8)))
    after = model.encode(*maps)
    assert all(not torch.allclose(x, y, atol=1e-4) for x, y in zip(before, after, strict=True))


def test_released_reads_the_beginning_of_tables_that_are_too_large_and_refuses_too_small_ones(maps):
    model = build(released=True, dim=16, image_size=4)
    smaller = build(released=True, dim=16, image_size=3)
    state = model.state_dict()
    state |= {key: state[key][:3] for key in ("position.columns", "position.rows")}
    smaller.load_state_dict(state)
    torch.testing.assert_close(model.encode(*maps), smaller.encode(*maps))
    assert not torch.allclose(build(image_size=4).encode(*maps)[0], model.encode(*maps)[0].narrow(2, 0, 16))
    with pytest.raises(ValueError, match="positions for 2 rows and 2 columns, got a grid of 3 x 3"):
        build(released=True, dim=16, image_size=2).encode(*maps)


def test_released_drops_at_the_rates_of_the_authors_and_the_default_at_one():
    def rates(model):
        of_layers = {m.p for part in (model.layers, model.scales) for m in part.modules() if isinstance(m, nn.Dropout)}
        return of_layers, model.words.embedding_dropout.p, model.words.dropout.p, model.scales[0].attention.heads

    assert rates(build(dropout=0.3, released=True)) == ({0.1, 0.8}, 0.1, 0.3, 8)
    assert rates(build(dropout=0.3)) == ({0.3}, 0.3, 0.3, 2)
    assert rates(build(dropout=0.3, scale_dropout=0.6, scale_heads=4)) == ({0.3, 0.6}, 0.3, 0.3, 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"released": True, "pre_norm": True}, "leave out pre_norm"),
        ({"released": True, "layers": 4}, "3 scales, got layers=4"),
        ({"decoder_layers": 0}, "at least 1, got 3 and 0"),
        ({"dim": 9}, "got dim=18, heads=4"),
        ({"inputs": "infrared"}, "'rgb', 'maps' or 'both', got 'infrared'"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        build(**({"heads": 4} | wrong))


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("decoder", {"feature_dim": 30}, "decoder width 30 is not twice the encoder's 16"),
        ("scale_aware", {"d_model": 16}, "scale-aware width 16 is not the decoder's 32"),
        ("change_encoder", {"w": 4}, "h=3, w=4"),
        ("change_encoder", {"n_layers": 2}, "at least 3 layers, got n_layers=2"),
    ],
)
def test_arguments_that_the_authors_code_cannot_run_are_refused(part, changes, said):
    parts = authors_arguments(*SHAPES[0][2:])
    parts[part] |= changes
    with pytest.raises(ValueError, match=said):
        published.arguments("psnet", parts, 768)


def test_maps_that_the_authors_code_has_no_projection_for_are_refused():
    with pytest.raises(ValueError, match="1024, 768, 512, 256 channels, got 300"):
        published.rename("psnet", [], authors_arguments(*SHAPES[0][2:]), 300)


def test_without_a_scale_aware_width_it_is_the_one_the_authors_wrote_into_their_code():
    parts = authors_arguments(7, 512, 8, 8, 8, 3, 3, 11)
    del parts["scale_aware"]
    assert published.arguments("psnet", parts, 768)["scale_heads"] == 8


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t"])
def test_released_has_the_grid_of_its_trunk_whatever_the_size_of_the_images(name):
    options = {"embed_dim": 24, "depth": 3, "num_heads": 2} if name.startswith("vit") else {"channels": (8,) * 4}
    a, b = torch.rand(2, 1, 3, 96, 64, generator=torch.Generator().manual_seed(5))
    backbone = {"name": name, "options": options}
    assert build(released=True, backbone=backbone, image_size=64).encode(a, b)[0].shape == (1, 14 * 14, 16)
    assert build(backbone=backbone, image_size=64).encode(a, b)[0].shape == (1, 6 * 4, 16)


def test_the_maps_of_a_pair_are_seen_where_the_captioner_was_built_for_them():
    sem_a, sem_b = torch.randint(0, 7, (2, 2, 32, 32), generator=torch.Generator().manual_seed(4))
    image, words = torch.rand(2, 3, 32, 32), torch.ones(2, 3, dtype=torch.long)
    backbone = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 12, 16, 20), "stem_width": 8}}
    for inputs in ("maps", "both"):
        model = build(inputs=inputs, backbone=backbone, image_size=32)
        pair = image, image
        assert not torch.allclose(model(words, *pair, sem_a, sem_b), model(words, *pair, sem_a, sem_a), atol=1e-5)
