"""Features of one date of a pair that are known already: the trunk then sees the other date alone.

Every captioner of the zoo shows both dates to its trunk in one batch, those before first, and in evaluation mode a
trunk looks at each image for itself. So what a date gave once it will give again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .backbone import Backbone

DATES = ("a", "b")


@contextmanager
def features(model: nn.Module, date: str, known: Sequence[Tensor] | None = None) -> Iterator[list[Tensor]]:
    """Within, collect what each trunk of ``model`` makes of one ``date``, or spare the trunks that date.

    Args:
        model: a captioner in evaluation mode, which encodes one batch of pairs within.
        date: ``"a"`` or ``"b"``.
        known: what was collected for the same images of that date; they are not computed again.

    Yields:
        The maps ``(B, channels, h, w)`` of ``date``, one for each trunk in the order in which they look; filled while
        the model encodes.

    Raises:
        ValueError: an unknown date, or the model is in training mode, where images share statistics.
    """
    if date not in DATES:
        raise ValueError(f"date must be a or b, got {date!r}")
    if model.training:
        raise ValueError("features of one date can be kept in evaluation mode only; call eval() first")
    kept: list[Tensor] = []
    spared = iter(known or ())

    def other_date(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0].chunk(2)[1 - DATES.index(date)],)

    def both_dates(_: nn.Module, inputs: tuple[Tensor, ...], seen: Tensor) -> Tensor:
        mine = next(spared)
        return torch.cat([mine, seen] if date == "a" else [seen, mine])

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], seen: Tensor) -> None:
        kept.append(seen.chunk(2)[DATES.index(date)].clone())

    trunks = [m for m in model.modules() if isinstance(m, Backbone)]
    hooks = [trunk.register_forward_hook(keep if known is None else both_dates) for trunk in trunks]
    hooks += [trunk.register_forward_pre_hook(other_date) for trunk in (trunks if known is not None else ())]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
