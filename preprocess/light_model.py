"""The light between two dates: how it is modelled, and how it is found though much of the scene has changed.

Light is a power, a gain and an offset per channel (sensor, exposure, haze) under one smooth field for all channels
(illumination, broad shadow, vignetting): ``T(x) = gain * (x / field - offset) ** power``. It is found by iteratively
reweighted Gauss-Newton steps on cells of a few pixels: Tukey's weight leaves out the cells that changed, its width
shrinks from wide to the spread of those that agree (graduated non-convexity, Blake and Zisserman 1987), and a prior
keeps what the scene does not show where it was. Where that leaves much apart, a shadow with an edge may lie on one of
the dates (:mod:`.shadow_model`); it is taken where it brings the dates together and both its sides keep their texture.
"""

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import shadow_model as shade

LEVEL = 1 / 255  # a step of eight bits
TUKEY = 4.685  # efficiency of 95 % on normal residuals
AGREES = 10 * LEVEL  # a cell whose residual stays below has not changed
ENOUGH = 0.05  # share of agreeing cells under which power, offset and field would be read from the change itself
SETTLED = 0.92  # share of agreeing cells above which no shadow is looked for
GAINED = 0.1  # share of agreeing cells that a shadow must add: a field whose crop has changed adds less
ALIKE = 0.45  # least correlation of the details of dates that are looked at for a shadow
KEPT = 0.25  # least share of texture that both sides of a shadow's edge keep; two dates with little in common keep 0.05
TERMS = 5  # of the field: x, y, x^2, x y, y^2
# Prior standard deviations. Power, gain and offset are a mean over the channels and each channel's departure from it.
PRIOR = {"power": 0.06, "gain": 0.6, "offset": 0.01, "field": 0.3, "bend": 0.3}
APART = {"power": 0.03, "gain": 0.3, "offset": 0.006}
SAMPLES = 4.0  # cells of a grid of 32 x 32 that count as one independent observation: neighbours change together


class Curve(NamedTuple):
    """Light of the second date in terms of the first: ``power``, ``gain``, ``offset`` (B, 3), ``field`` (B, 5).

    ``power`` and ``gain`` are logarithms, ``field`` the coefficients of the field's logarithm, so zeros are no change.
    ``shade`` is the logarithm ``(B, 3, h, w)`` of what first brings the second date out of a shadow, or into one, on
    cells that cover the image; ``None`` where there is no shadow.
    """

    power: Tensor
    gain: Tensor
    offset: Tensor
    field: Tensor
    shade: Tensor | None = None

    @staticmethod
    def linear(gain: Tensor, offset: Tensor) -> "Curve":
        """``gain * (x - offset)`` per channel, both ``(B, 3)``."""
        return Curve(torch.zeros_like(gain), gain.log(), offset, gain.new_zeros(len(gain), TERMS))

    def __call__(self, x: Tensor) -> Tensor:
        """Bring ``x`` ``(B, 3, H, W)`` into the light of the first date; unclamped."""
        u = (x * self._lit(x)).sub_(self.offset[..., None, None])
        return _power(u, self.power[..., None, None], self.gain[..., None, None])

    def undo(self, x: Tensor) -> Tensor:
        """Bring ``x`` ``(B, 3, H, W)`` from the light of the first date into that of the second; unclamped."""
        inverse = (-self.power).exp()
        u = _power(x.clone(), -self.power[..., None, None], (-self.gain * inverse)[..., None, None])
        return u.add_(self.offset[..., None, None]).div_(self._lit(x))

    def _lit(self, x: Tensor) -> Tensor:
        """What the field and the shadow take from ``x``, or give, as a factor."""
        lit = -(self.field @ _terms(x).flatten(1)).view(-1, 1, *x.shape[-2:])
        lit = lit.exp_()
        if self.shade is not None:  # the light between cells is between theirs, rather than its logarithm
            lit = lit / F.interpolate((-self.shade).exp(), x.shape[-2:], mode="bilinear")
        return lit


def _power(u: Tensor, power: Tensor, gain: Tensor) -> Tensor:
    """``exp(gain) * u ** exp(power)`` in place of ``u``, zero where that is not positive (NaN stays NaN)."""
    return u.clamp_min_(1e-12).log_().mul_(power.exp()).add_(gain).exp_()


def _terms(like: Tensor) -> Tensor:
    """The field's terms ``(5, H, W)`` on the pixels of an image ``(..., H, W)``, coordinates in [-1, 1]."""
    height, width = like.shape[-2:]
    y, x = (((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n * 2 - 1) for n in (height, width))
    y, x = y[:, None].expand(height, width), x.expand(height, width)
    return torch.stack([x, y, x * x - 1 / 3, x * y, y * y - 1 / 3])


@torch.no_grad()
def fit(a: Tensor, b: Tensor, valid: Tensor) -> tuple[Curve, Tensor, Tensor]:
    """The light that brings ``b`` to ``a``, both ``(B, 3, H, W)`` in [0, 1], where ``valid`` ``(B, 1, H, W)``.

    Returns:
        The curve; the share ``(B,)`` of cells that agree; and whether ``(B,)`` the curve is the weaker model, gains
        alone, because fewer than :data:`ENOUGH` do.
    """
    side = min(a.shape[-2:])
    # Cells of four pixels and more are as well known from every second row and column, at a quarter of the cost.
    a, b, valid = (x[..., ::2, ::2] if side >= 256 else x for x in (a, b, valid))
    # A clipped value says only on which side of the range the light was.
    darkest, brightest = torch.minimum(a, b).amin(1, keepdim=True), torch.maximum(a, b).amax(1, keepdim=True)
    seen = (valid & (darkest > LEVEL) & (brightest < 1 - LEVEL)).to(a.dtype)
    fine = _Cells.of(torch.cat([a, b, seen], 1), max(1, min(a.shape[-2:]) // 64))
    coarse = fine.halved()
    gains = _gains(coarse)
    theta = _steps(_steps(gains, coarse, 5, first=0.2, shrink=0.4), fine, 2)
    share = coarse.agree(_curves(theta))
    theta = torch.where((share < ENOUGH)[:, None], gains, theta)
    theta, share, shadow = _shadowed(theta, share, fine)
    curves = _curves(theta)
    power, gain, offset = curves[..., :3].unbind(-1)
    return Curve(power, gain, offset, curves[:, 0, 3:], shadow), share, share < ENOUGH


def _shadowed(theta: Tensor, share: Tensor, cells: "_Cells") -> tuple[Tensor, Tensor, Tensor | None]:
    """``theta``, the share that agrees and the shade ``(B, 3, h, w)``, with a shadow in the pairs that show one."""
    where = (share < SETTLED).nonzero()[:, 0]
    if len(where):
        coarse = cells.rows(where).halved()
        power, alike = shade.contrast(*coarse.logs())
        where, coarse, power = where[alike > ALIKE], coarse.rows(alike > ALIKE), power[alike > ALIKE]
    if not len(where):
        return theta, share, None
    # The light that was found may be a compromise between the two levels; that of the contrasts is not.
    starts = [theta[where], _theta(power.log(), power.new_zeros(len(where), 3))]
    guesses = [shade.levels(coarse.ratio(_curves(start)), coarse.logs()[2]) for start in starts]
    maybe = torch.maximum(guesses[0][2], guesses[1][2]) > 0
    better = (guesses[1][2] > guesses[0][2])[:, None]
    start = torch.where(better, starts[1], starts[0])
    level, step = (torch.where(better, guesses[1][k], guesses[0][k]) for k in (0, 1))
    where, start, level, step = (v[maybe] for v in (where, start, level, step))
    if not len(where):
        return theta, share, None
    found, agree, gain, kept = _shadow(start + _theta(level.new_zeros(len(level)), level), step, cells.rows(where))
    good = (agree > share[where] + GAINED) & (kept > KEPT)
    if not good.any():
        return theta, share, None
    where = where[good]
    whole = gain.new_zeros(len(theta), *gain.shape[1:]).index_copy(0, where, gain[good])
    return theta.index_copy(0, where, found[good]), share.index_copy(0, where, agree[good]), whole


def _shadow(theta: Tensor, step: Tensor, cells: "_Cells") -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The light and the shadow from a first guess: theta, the share that agrees, the shade, the texture kept."""
    a, b, seen = cells.logs()
    curves, trust = _curves(theta), seen
    ratio = cells.ratio(curves)
    for on_coarse, on_fine in ((3, 0), (0, 2)):
        depth = shade.depth(ratio, step, seen, trust)
        gain = depth * (step / curves[..., 0].exp())[..., None, None]
        lit = cells.lit(gain)
        theta = _steps(_steps(theta, lit.halved(), on_coarse, first=0.1, shrink=0.5), lit, on_fine)
        curves = _curves(theta)
        kept = shade.kept(a, b + gain, seen)
        trust = seen * kept
        ratio = lit.ratio(curves) + depth * step[..., None, None]
        level, step = shade.measure(ratio, step, depth, trust)
        ratio = ratio - level[..., None, None]
    theta = theta + _theta(level.new_zeros(len(level)), level)
    gain = depth * (step / curves[..., 0].exp())[..., None, None]
    return theta, cells.lit(gain).halved().agree(_curves(theta)), gain, shade.least(kept, depth, seen)


class _Cells(NamedTuple):
    """The seen pixels of each cell.

    Means of ``a`` and ``b`` ``(B, 3, N)``, the share seen ``(B, N)``, the field's terms there ``(5, N)``; ``sums`` is
    what coarser cells are made from.
    """

    a: Tensor
    b: Tensor
    seen: Tensor
    terms: Tensor
    sums: Tensor

    @staticmethod
    def of(stack: Tensor, size: int) -> "_Cells":
        """Cells of ``size`` pixels from ``a``, ``b`` and where both are seen, stacked ``(B, 7, H, W)``."""
        seen = stack[:, 6:]
        return _Cells._from(F.avg_pool2d(torch.cat([stack[:, :6] * seen, seen], 1), size))

    @staticmethod
    def _from(sums: Tensor) -> "_Cells":
        seen = sums[:, 6:]
        means = (sums[:, :6] / seen.clamp_min(1e-6)).flatten(2)
        return _Cells(means[:, :3], means[:, 3:], seen.flatten(1), _terms(sums).flatten(1), sums)

    def halved(self) -> "_Cells":
        return _Cells._from(F.avg_pool2d(self.sums, 2)) if min(self.sums.shape[-2:]) > 1 else self

    def rows(self, which: Tensor) -> "_Cells":
        return _Cells._from(self.sums[which])

    def lit(self, gain: Tensor) -> "_Cells":
        """With ``b`` times the exponential of ``gain`` ``(B, 3, h, w)``."""
        return _Cells._from(torch.cat([self.sums[:, :3], self.sums[:, 3:6] * gain.exp(), self.sums[:, 6:]], 1))

    def logs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of ``a`` and ``b`` ``(B, 3, h, w)`` and the share seen ``(B, 1, h, w)``."""
        size = self.sums.shape[-2:]
        return *(x.clamp_min(LEVEL).log().unflatten(2, size) for x in (self.a, self.b)), self.sums[:, 6:]

    def ratio(self, curves: Tensor) -> Tensor:
        """Logarithm ``(B, 3, h, w)`` of ``a`` over what ``curves`` make of ``b``."""
        out = _predict(curves, self)[0].clamp_min(LEVEL / 4)
        return (self.a.clamp_min(LEVEL).log() - out.log()).unflatten(2, self.sums.shape[-2:])

    def agree(self, curves: Tensor) -> Tensor:
        """Share ``(B,)`` of the seen cells that ``curves`` bring to within :data:`AGREES`."""
        r = (self.a - _predict(curves, self)[0]).square().mean(1).sqrt()
        return ((r < AGREES) * self.seen).sum(1) / self.seen.sum(1).clamp_min(1e-6)


@cache
def _design(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What theta (B, 17) means: means of power, gain and offset, the field, the channels' departures in each.

    Returns:
        The matrix ``(17, 24)`` to power, gain, offset and field of each channel; the one ``(192, 289)`` that gathers
        each channel's normal equations into those of theta; and the prior's precisions ``(17,)``.
    """
    design = torch.zeros(17, 3, 3 + TERMS, device=device)
    design[: 3 + TERMS] = torch.eye(3 + TERMS, device=device)[:, None]
    for k in range(3):  # power, gain, offset
        design[8 + 3 * k : 11 + 3 * k, :, k] = torch.eye(3, device=device)
    gather = torch.einsum("jci,lck->cikjl", design, design).reshape(3 * 8 * 8, 17 * 17)
    spread = [PRIOR["power"], PRIOR["gain"], PRIOR["offset"], *[PRIOR["field"]] * 2, *[PRIOR["bend"]] * 3]
    spread += [APART[k] for k in ("power", "gain", "offset") for _ in range(3)]
    return design.flatten(1), gather, torch.tensor(spread, device=device) ** -2


def _curves(theta: Tensor) -> Tensor:
    """Power, gain, offset and field of each channel ``(B, 3, 8)``."""
    return (theta @ _design(theta.device)[0]).unflatten(1, (3, 3 + TERMS))


def _gains(cells: _Cells) -> Tensor:
    """The gains ``(B, 17)`` that make the mean logarithms of both dates equal; nought where nothing is seen."""
    weight = cells.seen[:, None] / cells.seen.sum(1).clamp_min(1e-6)[:, None, None]
    gain = ((cells.a.clamp_min(LEVEL).log() - cells.b.clamp_min(LEVEL).log()) * weight).sum(-1)
    return _theta(gain.new_zeros(len(gain)), gain)


def _theta(power: Tensor, gain: Tensor) -> Tensor:
    """Theta of one ``power`` ``(B,)`` and a ``gain`` ``(B, 3)`` for each channel, both logarithms, and no field."""
    theta = gain.new_zeros(len(gain), 17)
    theta[:, 0] = power
    theta[:, 1] = gain.mean(1)
    theta[:, 11:14] = gain - gain.mean(1, keepdim=True)
    return theta


def _predict(curves: Tensor, cells: _Cells) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``a`` as the curves have it, ``log u``, ``d a / d u`` and ``b`` under the field, each ``(B, 3, N)``."""
    power, gain, offset = (curves[..., k, None] for k in range(3))
    v = cells.b * (-(curves[:, :1, 3:] @ cells.terms)).exp()
    u = (v - offset).clamp_min(2 * LEVEL)
    log_u, p = u.log(), power.exp()
    out = (p * log_u + gain).exp()
    return out, log_u * p, p * out / u * (u > 2 * LEVEL), v


def _steps(theta: Tensor, cells: _Cells, steps: int, first: float = 0.0, shrink: float = 1.0) -> Tensor:
    """Gauss-Newton steps from ``theta``, Tukey's width at least ``first`` times ``shrink`` to the power of the step."""
    design, gather, prior = _design(theta.device)
    prior = prior * (SAMPLES * cells.terms.shape[1] / 1024)
    jacobian = cells.a.new_empty(*cells.a.shape[:2], 3 + TERMS, cells.a.shape[2])
    for step in range(steps):
        out, log_up, slope, v = _predict(_curves(theta), cells)
        torch.mul(out, log_up, out=jacobian[:, :, 0])
        jacobian[:, :, 1] = out
        torch.neg(slope, out=jacobian[:, :, 2])
        torch.mul((-slope * v)[:, :, None], cells.terms, out=jacobian[:, :, 3:])
        r = cells.a - out
        norm = r.square().sum(1)
        sigma = _scale(norm, cells.seen).clamp_min(max(LEVEL, first * shrink**step / TUKEY))
        weight = (1 - norm / (TUKEY * sigma)[:, None].square()).clamp_min(0).square() * cells.seen
        weighted = jacobian * weight[:, None, None]
        normal = ((weighted @ jacobian.mT).flatten(1) @ gather).unflatten(1, (17, 17))
        gradient = (weighted @ r[..., None]).flatten(1) @ design.T
        held = prior * sigma.square()[:, None]
        move = torch.linalg.solve(normal + torch.diag_embed(held), gradient - held * theta)
        theta = theta + move.clamp(-0.5, 0.5)
    return theta


def _scale(square: Tensor, seen: Tensor) -> Tensor:
    """Spread per channel ``(B,)`` of the residuals' squared norms ``(B, N)``, from the third that agrees best.

    The third and not the half: most of a scene may have changed. Five hundred cells say it as well as all.
    """
    stride = -(-square.shape[1] // 512)
    square, use = square[:, ::stride], seen[:, ::stride] > 0.5
    ordered = square.masked_fill(~use, float("inf")).sort(1).values
    rank = (use.sum(1, keepdim=True) * 0.35).long().clamp_max(square.shape[1] - 1)
    scale = ordered.gather(1, rank)[:, 0].sqrt() / 1.28  # 35 % quantile of chi with three degrees of freedom
    return torch.where(scale.isfinite(), scale, torch.ones_like(scale))
