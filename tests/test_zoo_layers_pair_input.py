import pytest

from zoo.layers.pair_input import INPUTS, PairBackbone


@pytest.mark.parametrize("inputs", INPUTS)
def test_every_weight_has_one_name(inputs):
    backbone = {"name": "resnet10t", "stride": 8, "options": {"channels": (8, 8, 8, 8), "stem_width": 8}}
    state = PairBackbone(inputs, backbone, 7).state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)
