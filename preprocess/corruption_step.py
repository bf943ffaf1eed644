"""The step that trains a captioner on what :mod:`.corruption` will ask of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .corruption import CORRUPTIONS, GROUPS, SEVERITIES, degraded, drawn, named
from .pair import Pair
from .severity import SEED
from .step import Parameters, Step, probability


class Corrupt(Step):
    """With probability ``p`` one of the dates goes through a corruption, all as likely as their severities.

    ``names`` are of corruptions or of their groups, but of none that is held out: how a captioner takes those tells
    whether it has learnt more than it was shown. The date's map follows a geometry. JPEG and noise are of the pixels
    that the image has here, so they are worse on images smaller than those that will be asked about.
    """

    draws = 5

    def __init__(
        self,
        names: Sequence[str] = ("light", "sharpness", "geometry"),
        severities: Sequence[int] = SEVERITIES,
        p: float = 0.5,
    ) -> None:
        super().__init__()
        if isinstance(names, str) or not names:
            raise ValueError(f"names are a list like [light, noise], got {names!r}")
        if strange := [severity for severity in severities if severity not in SEVERITIES]:
            raise ValueError(f"severities are from 1 to 5, got {strange[0]!r}")
        if not severities:
            raise ValueError("severities are a list like [1, 2, 3], got none")
        self.names, self.severities, self.p = named(names), tuple(severities), probability("p", p)
        if kept := [name for name in self.names if name in GROUPS["held_out"]]:
            raise ValueError(f"{kept[0]} is held out of training; leave it out")

    def forward(self, pair: Pair, u: Tensor) -> tuple[Pair, Parameters]:
        """See :meth:`Step.forward`; ``corruption`` counts in ``names``, ``date`` 0 is before, -1 is none of each."""
        happens = u[:, 0] < self.p
        which = (len(self.names) * u[:, 1]).long()
        severity = torch.tensor(self.severities)[(len(self.severities) * u[:, 2]).long()]
        date, seeds = (2 * u[:, 3]).long(), (u[:, 4] * SEED).long()
        record = {"corruption": which, "severity": severity, "date": date}
        record = {key: value.where(happens, -1) for key, value in record.items()}
        images, maps = [pair.a, pair.b], [pair.sem_a, pair.sem_b]
        kinds = torch.stack(list(record.values()), 1)
        for i, s, d in sorted(set(map(tuple, kinds[happens].tolist()))):  # all of a kind at once
            rows = (kinds == torch.tensor([i, s, d])).all(1).nonzero()[:, 0]
            name, sem = self.names[i], maps[d]
            what = drawn(name, CORRUPTIONS[name].levels[s - 1], seeds[rows].tolist())
            there, moved = degraded(images[d][rows], None if sem is None else sem[rows], name, what)
            images[d] = _replaced(images[d], rows, there)
            maps[d] = sem if sem is None or moved is None else _replaced(sem, rows, moved)
        return Pair(*images, *maps), record


def _replaced(x: Tensor, rows: Tensor, fresh: Tensor) -> Tensor:
    """``x`` with other ``rows``; itself it stays as it is."""
    return x.index_copy(0, rows.to(x.device), fresh)
