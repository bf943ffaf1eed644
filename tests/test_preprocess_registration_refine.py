import os
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from preprocess.registration.refine import advance


def one_step():
    generator = torch.Generator().manual_seed(0)
    a, b = (F.avg_pool2d(torch.rand(2, 3, 44, 60, generator=generator), 5, 1) for _ in "ab")
    a[:, -1], b[:, -1] = 1, 1
    return torch.eye(3).repeat(2, 4, 1, 1), a, b, torch.ones(1, 4, 8, 8), torch.ones(8), 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache")  # of constants: traced once
def test_one_step_is_one_graph_without_breaks():
    torch.compiler.reset()
    compiled = torch.compile(advance, backend="aot_eager", fullgraph=True)
    assert_close(compiled(*one_step()), advance(*one_step()), atol=1e-5, rtol=1e-5)


@pytest.mark.compiler
@pytest.mark.timeout(900)
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a .functools.lru_cache")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch by torch
@pytest.mark.filterwarnings("ignore::FutureWarning")  # the same
def test_one_step_compiled_is_the_same():
    torch.compiler.reset()
    assert_close(torch.compile(advance)(*one_step()), advance(*one_step()), atol=1e-4, rtol=1e-4)
