"""How sure a motion is: a logistic function of the evidence, fitted on real pairs moved by known amounts."""

import torch
from torch import Tensor

TOLERANCE = 1.5  # pixels of mean corner error that a confidence is the probability of
ENOUGH = 0.1  # confidence below which the identity is the better answer

# by `python -m benchmarks.calibrate_register`: one weight per number of `features`
WEIGHTS = (-4.0, 0.0, 8.0, 0.0, 0.5, 0.0, 0.0, 0.0)


def features(evidence: Tensor) -> Tensor:
    """What the logistic function is linear in: ``(B, F)`` of the evidence ``(B, E)`` of an estimate."""
    peak, agreement, gain, over_identity, over_nothing, seen, freedom, spread = evidence.unbind(1)
    return torch.stack(
        [
            torch.ones_like(peak),
            peak.clamp(0, 40).clamp_min(1).log(),
            agreement,
            gain,
            over_nothing.clamp(0, 30).sqrt(),
            seen,
            (freedom > 2).to(peak.dtype),
            (freedom > 4).to(peak.dtype),
        ],
        1,
    )


def confidence(evidence: Tensor) -> Tensor:
    """The probability ``(B,)`` that the mean corner error is at most :data:`TOLERANCE`; 0 where there is no evidence."""
    p = (features(evidence) @ evidence.new_tensor(WEIGHTS)).sigmoid()
    return torch.where(evidence.isfinite().all(1) & p.isfinite(), p, 0.0)
