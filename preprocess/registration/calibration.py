"""How sure a motion is: a logistic function of the evidence, fitted on real pairs moved by known amounts."""

import torch
from torch import Tensor

TOLERANCE = 1.5  # pixels of mean corner error that a confidence is the probability of
NEAR = 100.0  # a motion of a hundredth of the image's side is near the identity: many pairs come that way
ENOUGH = 0.12  # confidence below which the identity is kept

# by `python -m benchmarks.calibrate_register`: one weight per number of `features`
WEIGHTS = (-4.607, 0.252, 4.289, 3.246, 1.216, 0.815, -2.448, 0.924, 3.232)


def features(evidence: Tensor) -> Tensor:
    """What the logistic function is linear in: ``(B, F)`` of the evidence ``(B, E)`` of an estimate."""
    peak, agreement, gain, over_identity, over_nothing, _seen, freedom, moved = evidence.unbind(1)
    return torch.stack(
        [
            torch.ones_like(peak),
            peak.clamp(1, 40).log(),
            agreement,
            gain,
            over_identity.clamp(-10, 10) / 10,
            over_nothing.clamp(0, 30).sqrt(),
            freedom / 8,
            (freedom > 6) * agreement,
            torch.exp(-(moved * NEAR).square()),
        ],
        1,
    )


def confidence(evidence: Tensor) -> Tensor:
    """The probability ``(B,)`` that the mean corner error is at most :data:`TOLERANCE`; 0 without evidence."""
    p = (features(evidence) @ evidence.new_tensor(WEIGHTS)).sigmoid()
    return torch.where(evidence.isfinite().all(1) & p.isfinite(), p, 0.0)
