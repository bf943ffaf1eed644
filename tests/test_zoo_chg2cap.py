"""Chg2Cap against its code written out a second way, and what sets the default apart from that code."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo import published
from zoo.chg2cap import LEVIR_CC

VOCAB, LENGTH = 11, 9
# encoder: layers, rows of the tables, heads, hidden, attention width, C; decoder: D, heads, layers; grid h, w
SHAPES = {
    "fewer layers, tables as large as the grid": ((1, (5, 3), 2, 7, 12, 10), (16, 4, 1), (3, 5)),
    "more layers, odd heads, larger tables": ((3, (9, 8), 3, 10, 18, 8), (24, 4, 3), (2, 6)),
    "no output projection for each date": ((2, (16, 16), 1, 5, 6, 6), (30, 5, 2), (4, 4)),
    "no output projection for both dates": ((2, (4, 7), 1, 9, 12, 6), (8, 1, 1), (7, 2)),
    "no layers of the encoder": ((0, (4, 4), 2, 8, 8, 8), (8, 2, 1), (3, 4)),
}


@pytest.fixture(params=SHAPES.values(), ids=list(SHAPES))
def shape(request):
    torch.manual_seed(0)
    return request.param


def authors_arguments(shape):
    (layers, rows, heads, hidden, width, c), (d, n_head, n_layers), _ = shape
    return {
        "change_encoder": {
            "n_layers": layers, "feature_size": [*rows, c], "heads": heads, "hidden_dim": hidden,
            "attention_dim": width, "dropout": 0.0,
        },
        "decoder": {
            "encoder_dim": c, "feature_dim": d, "vocab_size": VOCAB, "max_lengths": LENGTH, "n_head": n_head,
            "n_layers": n_layers, "dropout": 0.0,
        },
    }  # fmt: skip


def authors_state(shape):
    """Random weights under the authors' names, dead ones included."""
    (layers, rows, heads, hidden, width, c), (d, _, n_layers), _ = shape
    sizes = {"h_embedding.weight": (rows[0], c // 2), "w_embedding.weight": (rows[1], c // 2)}
    for i in range(layers):
        for j, dim in enumerate((c, 2 * c)):
            p = f"selftrans.{i}.{j}."
            sizes |= {f"{p}att.to_{x}.weight": (width, dim) for x in "qkv"}
            if not (heads == 1 and width == dim):
                sizes |= {f"{p}att.to_out.0.weight": (dim, width), f"{p}att.to_out.0.bias": (dim,)}
            sizes |= {f"{p}feedforward.net.0.weight": (hidden, dim), f"{p}feedforward.net.0.bias": (hidden,)}
            sizes |= {f"{p}feedforward.net.3.weight": (dim, hidden), f"{p}feedforward.net.3.bias": (dim,)}
            sizes |= {f"{p}norm{n}.{x}": (dim,) for n in (1, 2) for x in ("weight", "bias")}
    encoder = {f"encoder_trans_dict.{k}": size for k, size in sizes.items()}
    sizes = {"Conv1.weight": (d, 2 * c, 1, 1), "Conv1.bias": (d,)}
    for i, size in ((0, (d // 2, d, 1, 1)), (3, (d // 2, d // 2, 3, 3)), (6, (d, d // 2, 1, 1))):
        sizes |= {f"LN.left.{i}.weight": size, f"LN.left.{i}.bias": size[:1]}
        sizes |= {f"LN.left.{i + 1}.{x}": size[:1] for x in ("weight", "bias", "running_mean", "running_var")}
        sizes |= {f"LN.left.{i + 1}.num_batches_tracked": ()}
    for i in range(n_layers):
        p = f"transformer.layers.{i}."
        for part in ("self_attn", "multihead_attn"):
            sizes |= {f"{p}{part}.in_proj_weight": (3 * d, d), f"{p}{part}.in_proj_bias": (3 * d,)}
            sizes |= {f"{p}{part}.out_proj.weight": (d, d), f"{p}{part}.out_proj.bias": (d,)}
        sizes |= {f"{p}linear1.weight": (4 * d, d), f"{p}linear1.bias": (4 * d,)}
        sizes |= {f"{p}linear2.weight": (d, 4 * d), f"{p}linear2.bias": (d,)}
        sizes |= {f"{p}norm{n}.{x}": (d,) for n in (1, 2, 3) for x in ("weight", "bias")}
        for n in (1, 2, 3):
            sizes |= {f"{p}fc_alpha{n}.weight": (d, 2 * d), f"{p}fc_alpha{n}.bias": (d,)}
    sizes |= {"vocab_embedding.weight": (VOCAB, d), "position_encoding.embedding_1D.weight": (52, d)}
    sizes |= {"position_encoding.pe": (LENGTH, 1, d), "wdc.weight": (VOCAB, d), "wdc.bias": (VOCAB,)}
    decoder = {f"decoder_dict.{k}": size for k, size in sizes.items()}
    state = {}
    for key, size in {**encoder, **decoder}.items():
        if "num_batches" in key:
            state[key] = torch.tensor(0)
        else:
            state[key] = torch.rand(size) + 0.5 if "running_var" in key else 0.4 * torch.randn(size)
    return state


def second_way(state, shape, a, b, words, training=False):
    """Memory ``(N, B, D)`` in the authors' order and logits ``(B, T, V)``, from the description of their code."""
    (layers, _, heads, _, width, c), (d, n_head, n_layers), (h, w) = shape
    encoder, decoder = (
        {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
        for part in ("encoder_trans_dict", "decoder_dict")
    )

    def norm(s, key, x):
        return F.layer_norm(x, x.shape[-1:], s[f"{key}.weight"], s[f"{key}.bias"])

    def block(p, x):
        q, k = x @ encoder[f"{p}.att.to_q.weight"].T, x @ encoder[f"{p}.att.to_k.weight"].T
        seen = []
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            scores = q[..., part] @ k[..., part].transpose(1, 2) * (width // heads) ** -0.5
            seen.append(scores.softmax(-1) @ k[..., part])
        y = torch.cat(seen, dim=-1)
        if f"{p}.att.to_out.0.weight" in encoder:
            y = F.linear(y, encoder[f"{p}.att.to_out.0.weight"], encoder[f"{p}.att.to_out.0.bias"])
        x = norm(encoder, f"{p}.norm1", y + x)
        net = [encoder[f"{p}.feedforward.net.{i}.{n}"] for i in (0, 3) for n in ("weight", "bias")]
        return norm(encoder, f"{p}.norm2", F.linear(F.linear(x, *net[:2]).relu(), *net[2:]) + x)

    code = torch.zeros(h, w, c)
    for i in range(h):
        for j in range(w):
            code[i, j] = torch.cat([encoder["h_embedding.weight"][j], encoder["w_embedding.weight"][i]])
    starts = [x.permute(0, 2, 3, 1).flatten(1, 2) + code.flatten(0, 1) for x in (a, b)]
    s1, s2 = starts
    for i in range(layers):
        s1, s2 = block(f"selftrans.{i}.0", s1) + s1, block(f"selftrans.{i}.0", s2) + s2
        z = block(f"selftrans.{i}.1", torch.cat([s1, s2], dim=2))
        s1, s2 = z[..., :c] + starts[0], z[..., c:] + starts[1]
    s1, s2 = (s.reshape(-1, h, w, c).transpose(1, 3) for s in (s1, s2))  # (B, C, w, h)
    cosine = (s1 * s2).sum(1, keepdim=True) / (s1.norm(dim=1, keepdim=True) * s2.norm(dim=1, keepdim=True))
    x = F.conv2d(torch.cat([s1, s2], dim=1) + cosine, decoder["Conv1.weight"], decoder["Conv1.bias"])
    y = x
    for i in (0, 3, 6):
        y = F.conv2d(y, decoder[f"LN.left.{i}.weight"], decoder[f"LN.left.{i}.bias"], padding=i % 2)
        statistics = [decoder[f"LN.left.{i + 1}.{n}"].clone() for n in ("running_mean", "running_var")]
        scale = [decoder[f"LN.left.{i + 1}.{n}"] for n in ("weight", "bias")]
        y = F.batch_norm(y, *statistics, *scale, training=training)
        y = y if i == 6 else y.relu()
    memory = (x + y).relu().flatten(2).permute(2, 0, 1)

    place = torch.arange(LENGTH).unsqueeze(1) / 10000 ** (torch.arange(0, d, 2) / d)
    position = torch.stack([place.sin(), place.cos()], dim=2).flatten(1)
    t = F.embedding(words, decoder["vocab_embedding.weight"]).transpose(0, 1) + position[: words.shape[1], None]
    for i in range(n_layers):
        layer = nn.TransformerDecoderLayer(d, n_head, 4 * d, dropout=0.0)
        own = {k.removeprefix(f"transformer.layers.{i}."): v for k, v in decoder.items() if f"layers.{i}." in k}
        own = {k: v for k, v in own.items() if "fc_alpha" not in k}
        mask = nn.Transformer.generate_square_subsequent_mask(len(t))
        t = torch.func.functional_call(layer, own, (t, memory, mask)) + t
    return memory, F.linear(t, decoder["wdc.weight"], decoder["wdc.bias"]).transpose(0, 1)


def build_published(shape, state):
    c = shape[0][-1]
    model = zoo.create_model("chg2cap", **published.arguments("chg2cap", authors_arguments(shape), c))
    model.load_state_dict(published.convert("chg2cap", state))
    return model.eval()


def build(**kwargs):
    torch.manual_seed(0)
    small = {"backbone": {"name": "features", "channels": 12}, "image_size": 5, "dim": 16, "heads": 2, "layers": 2}
    return zoo.create_model("chg2cap", **{"vocab": VOCAB, **small, **kwargs}).eval()


def draw(shape, batch=3):
    (h, w), c = shape[2], shape[0][-1]
    a, b = torch.randn(2, batch, c, h, w)
    return a, b, torch.randint(0, VOCAB, (batch, LENGTH))


def test_released_is_the_description_of_the_code_at_other_sizes(shape):
    state, (a, b, words) = authors_state(shape), draw(shape)
    model = build_published(shape, state)
    memory = model.encode(a, b)
    expected_memory, expected = second_way(state, shape, a, b, words)
    h, w = shape[2]
    row_major = expected_memory.transpose(0, 1).unflatten(1, (w, h)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(memory[0], row_major, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.decode(words, memory)[0], expected, atol=1e-4, rtol=1e-5)


def test_released_learns_as_the_description_of_the_code(shape):
    state, (a, b, words) = authors_state(shape), draw(shape)
    model = build_published(shape, state).train()
    model.words.embedding_dropout.p = 0.0  # fixed at 0.1 in their code
    model(words, a, b).logsumexp(-1).sum().backward()
    leaves = {k: v.requires_grad_() if v.is_floating_point() and "running" not in k else v for k, v in state.items()}
    second_way(leaves, shape, a, b, words, training=True)[1].logsumexp(-1).sum().backward()
    ours = dict(model.named_parameters())
    for theirs, name in published.rename("chg2cap", list(state)).items():
        if name in ours:
            torch.testing.assert_close(ours[name].grad, leaves[theirs].grad, atol=1e-3, rtol=1e-3, msg=theirs)
        else:
            assert leaves[theirs].grad is None, theirs


def test_the_default_is_the_released_model_without_its_quirks():
    """The weights of one, rearranged by each quirk that the docstring names, make the other say the same."""
    grid, channels, dim = (5, 5), 12, 16
    old, new = build(released=True, feature_size=grid), build()
    for module in old.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2.0)
    state = old.state_dict()
    for key in list(state):
        if key.endswith(".key.weight"):
            state[key.replace("key", "value")] = state[key]  # values are keys
    state["fusion.left.3.weight"] = state["fusion.left.3.weight"].mT  # the grid is transposed
    join = state["fusion.join.weight"]
    state["fusion.join.weight"] = torch.cat([join, join.sum(1, keepdim=True)], dim=1)  # added to all channels
    state["words.embedding.weight"] = state["words.embedding.weight"] / dim**0.5  # not scaled
    new.load_state_dict(state)
    a, b = torch.randn(2, 2, channels, *grid)
    words = torch.randint(0, VOCAB, (2, 6))
    torch.testing.assert_close(new(words, a, b), old(words, a, b), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_dates_that_are_equal_start_equal(pre_norm):
    model = build(pre_norm=pre_norm)
    x = torch.randn(2, 12, 5, 5)
    before, after = model.encoder(x, x)
    torch.testing.assert_close(before, after)
    torch.testing.assert_close(model.fusion.similarity(before, after)[:, -1], torch.ones(2, 5, 5))


def test_the_fusion_starts_as_a_comparison():
    fusion = build().fusion
    x, y = torch.randn(2, 2, 12, 5, 5)
    same = fusion.join(fusion.similarity(x, x))
    torch.testing.assert_close(same, same[:1, :, :1, :1].expand_as(same))
    change = fusion.join(fusion.similarity(x, y)) - fusion.join(fusion.similarity(x + 1, y + 1))
    cosine = fusion.similarity(x, y)[:, -1:] - fusion.similarity(x + 1, y + 1)[:, -1:]
    torch.testing.assert_close(change, cosine * fusion.join.weight[:, -1], atol=1e-5, rtol=1e-5)


def test_released_starts_as_the_authors_do():
    model = build(released=True)
    x = torch.randn(2, 12, 5, 5)
    before, after = model.encoder(x, x)
    assert not torch.allclose(before, after, atol=0.1)


def test_the_encoder_is_as_wide_as_the_backbone_and_the_memory_as_dim():
    model = build(backbone={"name": "features", "channels": 10}, dim=24, heads=3)
    a, b = torch.randn(2, 2, 10, 4, 6)
    assert [tuple(x.shape) for x in model.encoder(a, b)] == [(2, 10, 4, 6)] * 2
    assert model.encode(a, b)[0].shape == (2, 24, 24)


@pytest.mark.slow
def test_the_published_sizes_are_the_defaults():
    with torch.device("meta"):
        model = zoo.create_model("chg2cap", vocab=500, released=True)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert model.encoder.layers[0].joint.query.weight.shape == (2048, 4096)
    assert model.encoder.layers[0].joint.feed[0].weight.shape == (512, 4096)
    # millions, as the authors' code counts less what it never uses: 170.02 - 37.75 and 116.51 - 25.28
    assert count["backbone"] / 1e6 == pytest.approx(42.50, abs=0.005)
    assert count["encoder"] / 1e6 == pytest.approx(132.27, abs=0.01)
    assert (count["fusion"] + count["words"]) / 1e6 == pytest.approx(91.23, abs=0.01)


@pytest.mark.parametrize("released", [False, True])
def test_released_images_are_normalised_as_levir_cc(released):
    backbone = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 12, 16, 20), "stem_width": 8}}
    trunk = build(backbone=backbone, image_size=32, released=released).backbone.first
    seen = []
    trunk.trunk.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    mean, std = LEVIR_CC if released else ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    x = torch.rand(2, 3, 32, 32)
    trunk(x)
    expected = (x * 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=1e-5)


def test_a_grid_beyond_the_authors_tables_is_refused():
    model = build(released=True, feature_size=(6, 4))
    x = torch.randn(1, 12, 4, 6)
    assert model.encode(x, x)[0].shape == (1, 24, 16)
    with pytest.raises(ValueError, match="4 rows and 6 columns, got a grid of 5 x 6"):
        model.encode(torch.randn(1, 12, 5, 6), torch.randn(1, 12, 5, 6))


def test_no_weight_is_stored_twice():
    state = build(backbone={"name": "resnet10t", "stride": 8}, inputs="both", image_size=32).state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="leave out pre_norm"):
        build(released=True, pre_norm=True)
    with pytest.raises(ValueError, match="attention_dim=15, heads=2"):
        build(attention_dim=15)
    arguments = authors_arguments(SHAPES["more layers, odd heads, larger tables"])
    with pytest.raises(ValueError, match=r"channels 9, feature_size \[9, 8, 8\] and encoder_dim 8"):
        published.arguments("chg2cap", arguments, 9)
