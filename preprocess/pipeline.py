"""The ordered steps named in a configuration, as one module from pair to pair.

What augmentations do is drawn on the CPU from the generator they are handed, one row of numbers a sample, so that a
batch is its samples one by one. What was drawn is returned: captions must follow the turns.
"""

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .pair import Pair
from .step import Parameters, Step
from .steps import STEPS

FORMAT = 1  # of what Chain.config returns


class Done(NamedTuple):
    """A pair after the chain: ``turn`` ``(B, 2, 2)`` is what all turns come to, ``parameters`` are of each step."""

    pair: Pair
    turn: Tensor
    parameters: tuple[tuple[str, Parameters], ...]


class Chain(nn.Module):
    """Steps in their order; made by :func:`build`."""

    def __init__(self, config: Mapping[str, Any], steps: Sequence[Step]) -> None:
        super().__init__()
        self.config, self.steps = dict(config), nn.ModuleList(steps)

    @property
    def names(self) -> list[str]:
        """Of the steps."""
        return [name for name, _ in map(_named, self.config["steps"])]

    @property
    def draws(self) -> int:
        """Uniform numbers that a sample takes in training."""
        return sum(step.draws for step in self.steps)  # type: ignore[misc]

    @property
    def turns(self) -> bool:
        """Whether a step mirrors, transposes or turns images."""
        return any(step.turns for step in self.steps)

    def forward(self, pair: Pair, generator: torch.Generator | None = None) -> Pair:
        """The ``pair``, a batch or a single one, after all steps; see :meth:`run`."""
        if pair.a.ndim == 4:
            return self.run(pair, generator).pair
        return self.run(pair.unsqueeze(), generator).pair.squeeze()

    def run(self, pair: Pair, generator: torch.Generator | None = None) -> Done:
        """A batched ``pair`` after all steps, and what was done to it; the input stays as it is.

        Raises:
            ValueError: shapes do not fit, images leave their range, rows would become columns in images that are not
                square, or augmentations have no ``generator``, one of the CPU, to draw from.
        """
        pair.check()
        if pair.a.ndim != 4:
            raise ValueError(f"run wants a batch of pairs, got images of shape {tuple(pair.a.shape)}")
        count, wanted = len(pair.a), self.draws if self.training else 0
        if wanted and generator is None:
            raise ValueError(
                "augmentations draw from a generator that they are handed; give generator=, or call eval()"
            )
        numbers = torch.rand(count, wanted, generator=generator, dtype=torch.float64)
        total, record = torch.eye(2, dtype=torch.long).repeat(count, 1, 1), []
        for name, step in zip(self.names, self.steps, strict=True):
            draws = step.draws
            assert isinstance(draws, int)
            if draws and not self.training:
                continue
            own, numbers = numbers[:, :draws], numbers[:, draws:]
            pair, parameters = step(pair, own)
            total = parameters["turn"] @ total if "turn" in parameters else total
            record.append((name, parameters))
        return Done(pair, total, tuple(record))


def build(steps: Sequence[str | Mapping[str, Any]] | Mapping[str, Any]) -> Chain:
    """The chain of ``steps``, in training mode as every new module.

    Args:
        steps: each a name, or a mapping from its name to its arguments; or what :attr:`Chain.config` was.

    Raises:
        ValueError: a step or an argument is not known or out of range; the configuration was saved by a newer version.
    """
    if isinstance(steps, Mapping):
        if steps.get("format") != FORMAT:
            raise ValueError(
                f"the preprocessing is of format {steps.get('format')!r} and this version reads format {FORMAT}; "
                "it was saved by a newer version of changecap: update it"
            )
        steps = steps["steps"]
    if isinstance(steps, str) or not isinstance(steps, Sequence):
        raise ValueError(f"steps are a list like [flip, gamma], got {steps!r}")
    config = {"format": FORMAT, "steps": [step if isinstance(step, str) else dict(step) for step in steps]}
    return Chain(config, [_built(step) for step in steps])


def _named(step: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of a step as a configuration has it."""
    if isinstance(step, str):
        return step, {}
    if isinstance(step, Mapping) and len(step) == 1:
        ((name, arguments),) = step.items()
        if isinstance(arguments, Mapping | None):
            return name, arguments or {}
    raise ValueError(f"a step is a name, or a name with its arguments like {{gamma: {{low: 0.8}}}}, got {step!r}")


def _built(step: str | Mapping[str, Any]) -> Step:
    name, arguments = _named(step)
    if name not in STEPS:
        near = get_close_matches(str(name), STEPS, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown step {name!r}{hint} expected one of: {', '.join(STEPS)}")
    known = list(inspect.signature(STEPS[name]).parameters)
    if unknown := [key for key in arguments if key not in known]:
        raise ValueError(f"step {name} knows no {unknown[0]!r}; it takes {', '.join(known) or 'no arguments'}")
    try:
        return STEPS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"step {name}: {error}") from error
