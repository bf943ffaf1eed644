"""What every captioner of the zoo must keep, in the default and in the released mode."""

import os
import shutil

import pytest
import torch

import zoo
from changecap.inference.decoding import Decoding
from changecap.inference.search import search

SIZE, VOCAB = 48, 30
MODES = [{}, {"released": True}, {"pre_norm": True}]


def build(name, **kwargs):
    """The model called ``name``, small, for images and maps; what is not common to the zoo stays as it is."""
    torch.manual_seed(0)
    small = {"inputs": "both", "dim": 16, "heads": 2, "dropout": 0.0, "image_size": SIZE}
    backbone = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 12, 16, 20), "stem_width": 8}}
    if kwargs.get("released"):
        backbone["pool"] = 6
    return zoo.create_model(name, vocab=VOCAB, **small | {"backbone": backbone} | kwargs).eval()


@pytest.fixture(params=zoo.list_models())
def name(request):
    return request.param


@pytest.fixture(params=MODES, ids=lambda mode: next(iter(mode), "default"))
def model(name, request):
    model = build(name, **request.param)
    model.twin = lambda: build(name, **request.param)
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


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("inputs", ["rgb", "maps", "both"])
def test_every_parameter_gets_a_gradient(name, inputs, pre_norm, pair, words):
    model = build(name, inputs=inputs, pre_norm=pre_norm).train()
    for p in model.parameters():  # timm starts residual branches at exactly 0
        p.data += 0.01 * torch.randn_like(p)
    model(words, *pair).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


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


def test_a_look_at_the_memory_shares_out_over_its_tokens(model, pair, words):
    looks = model.attend(words, model.encode(*pair))
    assert looks.shape == (2, 6, 36)
    assert looks.min() >= 0
    torch.testing.assert_close(looks.sum(2), torch.ones(2, 6))


def test_other_sizes_and_unequal_sides_are_taken(name, words):
    model = build(name)
    torch.manual_seed(4)
    a, b = torch.rand(2, 2, 3, 64, 40)
    sem_a, sem_b = torch.randint(0, 7, (2, 2, 64, 40))
    logits = model(words, a, b, sem_a, sem_b)
    assert logits.shape == (2, 7, VOCAB)
    turned = model(words, *(x.transpose(-1, -2) for x in (a, b, sem_a, sem_b)))
    assert not torch.allclose(logits, turned, atol=1e-4)  # rows are not taken for columns


def test_one_pair_trains(model, pair, words):
    logits = model.train()(words[:1], *(x[:1] for x in pair))
    assert logits.shape == (1, 7, VOCAB)
    logits.square().mean().backward()


def test_images_smaller_than_the_stride_are_refused_with_both_sizes(name, words):
    a = torch.rand(2, 3, 7, 40)
    sem = torch.zeros(2, 7, 40, dtype=torch.long)
    with pytest.raises(ValueError, match="stride 8 takes no images of 7 x 40 pixels"):
        build(name)(words, a, a, sem, sem)


def test_a_model_for_images_alone_ignores_maps(name, pair, words):
    a, b, sem_a, sem_b = pair
    model = build(name, inputs="rgb")
    torch.testing.assert_close(model(words, a, b), model(words, a, b, sem_a, sem_b))


def test_a_model_for_maps_alone_ignores_images(name, pair, words):
    a, b, sem_a, sem_b = pair
    model = build(name, inputs="maps")
    torch.testing.assert_close(model(words, a, b, sem_a, sem_b), model(words, b, a, sem_a, sem_b))


@pytest.mark.parametrize("inputs", ["maps", "both"])
def test_a_model_for_maps_refuses_to_go_without(name, inputs, pair, words):
    with pytest.raises(ValueError, match=f"inputs='{inputs}'"):
        build(name, inputs=inputs)(words, *pair[:2])


def test_inputs_that_there_are_not_are_refused(name):
    with pytest.raises(ValueError, match="inputs must be 'rgb', 'maps' or 'both', got 'depth'"):
        build(name, inputs="depth")


def test_the_released_code_has_no_pre_norm(name):
    with pytest.raises(ValueError, match="leave out pre_norm"):
        build(name, released=True, pre_norm=True)


def test_a_pair_with_itself_is_captioned_the_same_twice_and_beside_another_pair(model, pair):
    a, b, sem_a, sem_b = pair
    same = a[:1], a[:1], sem_a[:1], sem_a[:1]
    beside = [torch.cat([x, y[1:]]) for x, y in zip(same, (a, b, sem_a, sem_b), strict=True)]

    def captions(*images):
        with torch.no_grad():
            memory = model.encode(*images)
        return [found.best() for found in search(model, memory, Decoding(beams=2, max_length=9), start=1, end=2)]

    (once,), (twice,), (batched, _) = captions(*same), captions(*same), captions(*beside)
    assert once == twice
    assert batched.ids == once.ids
    assert batched.score == pytest.approx(once.score, abs=1e-4)


@pytest.mark.slow
def test_it_is_one_graph_without_breaks(name, pair, words):
    model = build(name)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(words, *pair), model(words, *pair), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.timeout(900)
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch by torch
def test_compiled_it_says_the_same(name, words):
    model = build(name, backbone={"name": "features", "channels": 4})  # a trunk is timm's, and takes minutes
    maps = torch.rand(4, 2, 4, 6, 6).unbind()
    torch.compiler.reset()  # else it takes sizes of the model before for sizes that vary
    torch.testing.assert_close(torch.compile(model)(words, *maps), model(words, *maps), atol=1e-4, rtol=1e-4)


def test_bfloat16_autocast_runs(model, pair, words):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(words, *pair)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.float().softmax(-1), model(words, *pair).softmax(-1), atol=0.02, rtol=0.0)


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
