"""What every captioner of the zoo must keep, in the default and in the released mode."""

import itertools

import pytest
import torch

import zoo

SIZE, VOCAB = 48, 30


def build(name, **kwargs):
    torch.manual_seed(0)
    small = {"dim": 16, "heads": 2, "dropout": 0.0, "image_size": SIZE, "inputs": "both"}
    backbone = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 12, 16, 20), "stem_width": 8}}
    if kwargs.get("released"):
        backbone["pool"] = 6
    return zoo.create_model(name, vocab=VOCAB, **small | {"backbone": backbone} | kwargs).eval()


MODES = [{}, {"released": True}, {"pre_norm": True}]


@pytest.fixture(params=[(n, mode) for n in zoo.list_models() for mode in MODES], ids=str)
def model(request):
    name, mode = request.param
    model = build(name, **mode)
    model.twin = lambda: build(name, **mode)
    return model


@pytest.fixture
def pair():
    torch.manual_seed(1)
    a, b = torch.rand(2, 2, 3, SIZE, SIZE)
    sem_a, sem_b = torch.randint(0, 7, (2, 2, SIZE, SIZE))
    return a, b, sem_a, sem_b


@pytest.fixture
def words():
    return torch.randint(0, VOCAB, (2, 7), generator=torch.Generator().manual_seed(2))


def test_logits_have_one_row_per_word(model, pair, words):
    assert model(words, *pair).shape == (2, 7, VOCAB)


def test_a_later_word_never_changes_an_earlier_logit(model, pair, words):
    other = words.clone()
    other[:, 4:] = (other[:, 4:] + 1) % VOCAB
    torch.testing.assert_close(model(words, *pair)[:, :4], model(other, *pair)[:, :4])


def test_batch_neighbours_do_not_talk(model, pair, words):
    alone = model(words[:1], *(x[:1] for x in pair))
    torch.testing.assert_close(model(words, *pair)[:1], alone, atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_a_gradient(pair, words):
    for name in zoo.list_models():
        for inputs, pre_norm in itertools.product(("rgb", "maps", "both"), (False, True)):
            model = build(name, inputs=inputs, pre_norm=pre_norm).train()
            for p in model.parameters():  # timm starts residual branches at exactly 0
                p.data += 0.01 * torch.randn_like(p)
            model(words, *pair).square().mean().backward()
            dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
            assert not dead, f"{name} inputs={inputs}"


def test_the_order_of_before_and_after_matters(model, pair, words):
    a, b, sem_a, sem_b = pair
    assert not torch.allclose(model(words, a, b, sem_a, sem_b), model(words, b, a, sem_b, sem_a), atol=1e-4)


def test_one_new_word_at_a_time_gives_the_same_logits(model, pair, words):
    memory = model.encode(*pair)
    whole, _ = model.decode(words, memory)
    state, steps = None, []
    for t in range(words.shape[1]):
        logits, state = model.decode(words[:, t : t + 1], memory, state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_several_new_words_after_a_state_give_the_same_logits(model, pair, words):
    memory = model.encode(*pair)
    whole, _ = model.decode(words, memory)
    _, state = model.decode(words[:, :3], memory)
    torch.testing.assert_close(model.decode(words[:, 3:], memory, state)[0], whole[:, 3:], atol=1e-5, rtol=1e-5)


def test_sentences_that_share_a_pair_give_what_a_repeated_memory_gives(model, pair):
    words = torch.randint(0, VOCAB, (6, 5), generator=torch.Generator().manual_seed(3))
    memory = model.encode(*pair)
    repeated = tuple(m.repeat_interleave(3, dim=0) for m in memory)
    torch.testing.assert_close(model.decode(words, memory)[0], model.decode(words, repeated)[0], atol=1e-5, rtol=1e-5)


def test_a_selected_state_continues_the_selected_sentences(model, pair, words):
    memory = model.encode(*pair)
    _, state = model.decode(words[:, :4], memory)
    swap = torch.tensor([1, 0])
    logits, _ = model.decode(words[swap, 4:5], tuple(m[swap] for m in memory), state.select(swap))
    torch.testing.assert_close(logits[swap], model.decode(words[:, 4:5], memory, state)[0], atol=1e-5, rtol=1e-5)


def test_other_sizes_and_unequal_sides_are_taken(pair, words):
    a = torch.rand(2, 3, 64, 40)
    sem = torch.zeros(2, 64, 40, dtype=torch.long)
    for name in zoo.list_models():
        assert build(name)(words, a, a, sem, sem).shape == (2, 7, VOCAB)


def test_a_model_for_images_alone_ignores_maps(pair, words):
    a, b, sem_a, sem_b = pair
    for name in zoo.list_models():
        model = build(name, inputs="rgb")
        torch.testing.assert_close(model(words, a, b), model(words, a, b, sem_a, sem_b))


def test_a_model_for_maps_refuses_to_go_without(pair, words):
    for name in zoo.list_models():
        with pytest.raises(ValueError, match="inputs='both'"):
            build(name)(words, *pair[:2])


def test_bfloat16_autocast_runs(model, pair, words):
    with torch.autocast("cpu", torch.bfloat16):
        assert model(words, *pair).isfinite().all()


def test_state_dict_makes_the_round_trip(model, pair, words):
    twin = model.twin()
    for p in twin.parameters():
        torch.nn.init.zeros_(p)
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(words, *pair), model(words, *pair))


def test_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match=r"'mmodalc', expected one of: .*mmodalcc.*did you mean 'mmodalcc'"):
        zoo.create_model("mmodalc")


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="depht"):
        zoo.create_model("mmodalcc", vocab=5, depht=3)


def test_models_are_listed_by_pattern():
    assert zoo.list_models("mm*") == ["mmodalcc"]
    assert zoo.is_model("mmodalcc")
    assert not zoo.is_model("nothing")


def test_an_unknown_backbone_and_a_stride_it_lacks_are_named():
    with pytest.raises(ValueError, match="unknown backbone 'resnet1000'"):
        build("mmodalcc", backbone={"name": "resnet1000"})
    with pytest.raises(ValueError, match=r"no map of stride 7, only \[2, 4, 8, 16, 32\]"):
        build("mmodalcc", backbone={"name": "resnet10t", "stride": 7})


def test_frozen_blocks_neither_learn_nor_move_their_statistics(pair, words):
    backbone = {"name": "resnet10t", "stride": 8, "freeze": 3}
    model = build("mmodalcc", backbone=backbone).train()
    before = {k: v.clone() for k, v in model.backbones["rgb"].trunk.state_dict().items()}
    model(words, *pair).mean().backward()
    frozen = list(model.backbones["rgb"].trunk.named_children())[:3]
    after = model.backbones["rgb"].trunk.state_dict()
    for name, part in frozen:
        assert all(p.grad is None for p in part.parameters())
        for key in part.state_dict():
            torch.testing.assert_close(after[f"{name}.{key}"], before[f"{name}.{key}"])
    assert not torch.equal(after["layer1.0.bn1.running_mean"], before["layer1.0.bn1.running_mean"])
