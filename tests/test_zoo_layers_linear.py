"""The two ways of a linear layer give the same."""

import pytest
import torch
import torch.nn.functional as F

from zoo.layers.linear import FEW, Linear, linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 6), (3, 6), (FEW[0], 6), (4, 5, 6), (2, 0, 6), (FEW[1], 1, 6), (FEW[1] + 1, 6)])
def test_few_rows_and_many_give_what_torch_gives(shape, bias):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(shape, generator=generator), torch.randn(4, 6, generator=generator)
    shift = torch.randn(4, generator=generator) if bias else None
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, shift), F.linear(x, weight, shift))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_stay_what_they_are(dtype):
    layer = Linear(6, 4).to(dtype)
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_learning_is_torchs_own():
    layer, theirs = Linear(6, 4), torch.nn.Linear(6, 4)
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
    layer(x).square().sum().backward()
    theirs(x).square().sum().backward()
    assert torch.equal(layer.weight.grad, theirs.weight.grad)
    assert torch.equal(layer.bias.grad, theirs.bias.grad)


def test_under_autocast_the_result_is_of_its_type():
    layer = Linear(6, 4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(32, 6)).dtype == F.linear(torch.ones(32, 6), layer.weight).dtype == torch.bfloat16
