"""How sure a motion is, and whether it is to be used: logistic functions of the evidence, fitted on real pairs."""

import torch
from torch import Tensor

TOLERANCE = 1.5  # pixels of mean corner error that a confidence is the probability of
# Probability that a motion is nearer to the truth than none, below which the identity is kept: to harm is worse than to
# miss
ENOUGH = 0.6
NEAR = 100.0  # a motion of a hundredth of the image's side is near the identity: many pairs come that way
FAR = 0.15  # of the image's side: what moved farther than this is often a chance likeness of other places

# by `python -m benchmarks.calibrate_register`, of each profile: that a motion is within the tolerance; that it is that,
# or nearer than none; one weight per number of `features`
WEIGHTS = {
    "accurate": (
        (-1.376, -1.864, 1.639, 2.16, 1.097, 1.611, 1.188, -0.592, -2.052, 0.527, -1.217, 1.365),
        (-2.785, -1.185, 2.067, 3.761, 0.486, -0.034, -0.138, -0.265, -1.392, 0.711, -1.997, 0.708),
    ),
    "fast": (
        (-1.726, -1.358, 1.286, 0.698, 2.441, 2.135, 0.711, -0.172, -1.973, 1.201, -1.406, 3.243),
        (-3.206, -0.605, 1.376, 1.892, 0.528, -0.278, -0.191, 0.48, -1.241, 0.765, -2.446, 2.368),
    ),
}


def features(evidence: Tensor) -> Tensor:
    """What the logistic function is linear in: ``(B, F)`` of the evidence ``(B, E)`` of an estimate."""
    peak, margin, breadth, agreement, gain, over_identity, over_nothing, _seen, freedom, moved = evidence.unbind(1)
    peak = peak.clamp(1, 40).log()
    return torch.stack(
        [
            torch.ones_like(peak),
            peak,
            (margin.clamp_min(0) + 0.1).log(),
            breadth.clamp(-1, 4),
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


def judged(evidence: Tensor, profile: str) -> tuple[Tensor, Tensor]:
    """What the evidence ``(B, E)`` of motions says of them; without evidence nothing is claimed.

    Returns:
        The probability ``(B,)`` that the mean corner error is at most :data:`TOLERANCE`; and whether a motion is to be
        used, ``(B,)``, for it is nearer to the truth than none: on dates that differ much it often is without being
        exact.
    """
    p = (features(evidence) @ evidence.new_tensor(WEIGHTS[profile]).T).sigmoid()  # (B, 2)
    near, nearer = torch.where(evidence.isfinite().all(1, keepdim=True) & p.isfinite(), p, 0.0).unbind(1)
    return near, nearer >= ENOUGH
