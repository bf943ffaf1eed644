import pytest
import torch

import zoo
from zoo.layers.feature_cache import features

TINY = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 8, 8, 8), "stem_width": 8}}
ARGUMENTS = {"rsiccformer": {"dim": 16, "heads": 2}, "psnet": {"dim": 16, "heads": 2}, "mmodalcc": {"dim": 16}}


@pytest.fixture(params=["rgb", "both"])
def inputs(request):
    return request.param


@pytest.fixture(params=zoo.list_models())
def model(request, inputs):
    torch.manual_seed(0)
    arguments = {"inputs": inputs, "image_size": 32, "backbone": TINY, **ARGUMENTS.get(request.param, {})}
    return zoo.create_model(request.param, vocab=9, **arguments).eval()


@pytest.fixture
def pair(inputs):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 3, 32, 32, generator=generator)
    return (*images, *(torch.randint(0, 7, (2, 3, 32, 32), generator=generator) if inputs == "both" else ()))


@pytest.mark.parametrize("date", ["a", "b"])
@torch.no_grad()
def test_a_date_that_is_known_is_not_looked_at_and_the_memory_is_the_same(model, pair, date):
    whole = model.encode(*pair)
    with features(model, date) as kept:
        recorded = model.encode(*pair)
    looked = []
    for name, module in model.named_modules():
        if name.endswith("trunk"):
            module.register_forward_hook(lambda _, inputs, out: looked.append(len(inputs[0])))
    unseen = tuple(torch.zeros_like(x) if n % 2 == "ab".index(date) else x for n, x in enumerate(pair))
    with features(model, date, kept):
        spared = model.encode(*unseen)
    assert looked == [3] * len(kept)
    for one, two, three in zip(whole, recorded, spared, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
        torch.testing.assert_close(one, three)
    looked.clear()
    model.encode(*pair)
    assert looked == [6] * len(kept)


def test_training_and_other_dates_are_refused(model):
    with pytest.raises(ValueError, match="date must be a or b, got 'c'"), features(model, "c"):
        pass
    with pytest.raises(ValueError, match="in evaluation mode only"), features(model.train(), "a"):
        pass
