"""How sure a motion is: a logistic function of the evidence, fitted on real pairs moved by known amounts."""

import torch
from torch import Tensor

TOLERANCE = 1.5  # pixels of mean corner error that a confidence is the probability of
NEAR = 100.0  # a motion of a hundredth of the image's side is near the identity: many pairs come that way
FAR = 0.15  # of the image's side: what moved farther than this is often a chance likeness of other places
ENOUGH = 0.15  # confidence below which the identity is kept: from here on no real pair of the calibration came to harm

# by `python -m benchmarks.calibrate_register`, of each profile: one weight per number of `features`
WEIGHTS = {
    "accurate": (-1.983, -1.89, 1.875, 4.537, 2.792, 1.49, 0.918, -3.988, 1.64, -2.18, 3.527),
    "fast": (-2.8, -1.642, 1.741, 5.134, 2.047, 0.436, 0.77, -2.754, 1.237, -1.562, 4.313),
}


def features(evidence: Tensor) -> Tensor:
    """What the logistic function is linear in: ``(B, F)`` of the evidence ``(B, E)`` of an estimate."""
    peak, margin, agreement, gain, over_identity, over_nothing, _seen, freedom, moved = evidence.unbind(1)
    peak = peak.clamp(1, 40).log()
    return torch.stack(
        [
            torch.ones_like(peak),
            peak,
            (margin.clamp_min(0) + 0.1).log(),
            agreement,
            gain,
            over_identity.clamp(-10, 10) / 10,
            over_nothing.clamp(0, 30).sqrt(),
            freedom / 8,
            (freedom > 6) * agreement,
            10 * (moved - FAR).clamp(0, 0.2),
            torch.exp(-(moved * NEAR).square()) * (peak - 1),  # unrelated dates, whose peak is low, rest there too
        ],
        1,
    )


def confidence(evidence: Tensor, profile: str) -> Tensor:
    """The probability ``(B,)`` that the mean corner error is at most :data:`TOLERANCE`; 0 without evidence."""
    p = (features(evidence) @ evidence.new_tensor(WEIGHTS[profile])).sigmoid()
    return torch.where(evidence.isfinite().all(1) & p.isfinite(), p, 0.0)
