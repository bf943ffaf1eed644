import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from training_runs import assert_same, at_step, describe, everything, rows, run, write_pairs

from changecap.errors import ConfigError, DataError, UserError
from changecap.training.process_group import assembled

LAST = 19  # of 20 pairs: the second step has one pair for two processes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The folder of a run of two processes that nothing interrupted."""
    return run(describe(root, tmp_path_factory.mktemp("runs") / "whole", processes=2, batch=LAST))


def test_two_processes_do_the_steps_of_one_where_nothing_depends_on_the_batch(root, tmp_path):
    model = {"name": "psnet", "dim": 16, "heads": 2, "layers": 1, "dropout": 0.0}
    backbone = {
        "name": "vit_tiny_patch16_224",
        "weights": "none",
        "options": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    }
    alike = {"model": model, "backbone": backbone, "inputs": "rgb", "epochs": 1}
    one, two = (run(describe(root, tmp_path / str(n), processes=n, batch=LAST, **alike)) for n in (1, 2))
    for ours, theirs in zip(rows(one), rows(two), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    weights = [everything(out) for out in (one, two)]
    names = [name for name in weights[0] if name.startswith("/weights/last") and weights[0][name].is_floating_point()]
    assert len(names) > 20
    for name in names:
        ours, theirs = (w[name].clone() for w in weights)
        if name.endswith("project.bias"):  # a key's has no gradient but rounding, of which Adam makes steps nonetheless
            for bias in (ours, theirs):
                bias.chunk(3)[1].zero_()
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_an_interrupted_run_of_two_processes_resumes_to_the_same_weights(root, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt, match="stopped at step 3; go on with resume="):
            run(describe(root, tmp_path / "cut", processes=2, batch=LAST))
    cut = run({"resume": str(tmp_path / "cut")})
    assert_same(everything(whole), everything(cut))


def test_what_another_process_cannot_do_is_told_by_the_first(root, tmp_path):
    broken = write_pairs(tmp_path / "pairs")
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0)).tolist()
    names = sorted((broken / "train/rgb/A").iterdir(), key=lambda path: int(path.stem))
    assert names[order[1]].stem == str(order[1])
    names[order[1]].write_bytes(b"no image")  # the first pair of the second process
    with pytest.raises(DataError, match=rf"{order[1]}\.png"):
        run(describe(broken, tmp_path / "run", processes=2, preload=False))


def test_a_process_that_is_killed_is_told_of(root, tmp_path, monkeypatch):
    at_step(monkeypatch, 1, lambda: [child.kill() for child in multiprocessing.active_children()])
    with pytest.raises(UserError, match=r"process 2 of 2 came to an end by itself \(exit code -9\)"):
        run(describe(root, tmp_path / "run", processes=2))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are looked up in /proc")
def test_no_process_outlives_the_first(root, tmp_path):
    config = describe(root, tmp_path / "run", processes=2, steps=100_000, validate_every=100_000)
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\nfrom changecap.training.loop import train\n"
        "if __name__ == '__main__':\n    train(json.loads(sys.argv[1]), progress=False)\n"
    )
    first = subprocess.Popen(
        [sys.executable, program, json.dumps(config)], env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )
    try:
        for _ in range(1200):
            if (tmp_path / "run/metrics.jsonl").exists() and rows(tmp_path / "run"):
                break
            assert first.poll() is None, "the run ended before it was killed"
            time.sleep(0.05)
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    finally:
        first.kill()
        first.wait()
    assert children
    for _ in range(200):
        if not any(Path("/proc", child).exists() for child in children):
            break
        time.sleep(0.05)
    assert not [child for child in children if Path("/proc", child).exists()]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(ConfigError, match="a GPU for each; got device=cuda, and 1 of them"),
        assembled(2, torch.device("cuda"), print),
    ):
        pass


def test_no_processes_are_refused(root, tmp_path):
    with pytest.raises(ConfigError, match="processes must be a number of at least 1, got 0"):
        run(describe(root, tmp_path / "run", processes=0))


def test_a_part_of_a_process_is_refused(root, tmp_path):
    with pytest.raises(ConfigError, match=r"processes must be a whole number, got 1\.5"):
        run(describe(root, tmp_path / "run", processes=1.5))
