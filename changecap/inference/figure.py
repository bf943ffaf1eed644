"""One captioned pair as a picture: what went in, what was said, and where the model looked for each word."""

import io
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from preprocess.pair import Pair

from ..io.atomic import write_whole
from ..landcover import CLASSES, PALETTE, to_rgb

if TYPE_CHECKING:
    from .captioner import Caption

_FUNCTION_WORDS = (
    "a an the this that is are was were been has have of in on at to by for from with into and or while as than its"
)
_COLUMNS = 6  # of the figure: two dates for each of three words
_PANEL = 2.1  # inches


def draw(path: Path, pair: Pair, caption: "Caption") -> None:
    """Draw one pair, its maps, its sentence, and for each content word where the model looked for it on both dates.

    Args:
        path: the PNG file, written whole or not at all.
        pair: what the model saw, float images ``(3, H, W)`` in [0, 1] or uint8.
        caption: with ``attention``; the weights are drawn as multiples of an even look, 1 is no preference.

    Raises:
        OSError: the file cannot be written.
        ValueError: the caption has no ``attention``.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    a, b = (_pixels(x) for x in (pair.a, pair.b))
    words = _content_words(caption)
    rows = 1 + math.ceil(2 * len(words) / _COLUMNS)
    title = textwrap.fill(caption.text, 78)
    head = 0.75 + 0.3 * title.count("\n")  # inches
    height = head + rows * (_PANEL + 0.35)
    fig = Figure(figsize=(_COLUMNS * _PANEL + 1.1, height), dpi=100)
    fig.text(0.012, 1 - 0.12 / height, title, fontsize=16, weight="bold", va="top")
    flag = "changed" if caption.changed else "unchanged"
    fig.text(0.012, 1 - (head - 0.12) / height, f"{flag}, log-probability {caption.score:.2f}", fontsize=11, va="top")
    width = _PANEL / (_COLUMNS * _PANEL + 1.1)

    def panel(row: int, column: int, label: str) -> Any:
        bottom = 1 - (head + (row + 1) * (_PANEL + 0.35)) / height
        axes = fig.add_axes((0.012 + column * width, bottom, width * 0.96, (_PANEL - 0.08) / height))
        axes.set_title(label, fontsize=11, loc="left", pad=3)
        axes.set_axis_off()
        return axes

    pictures = [("before", a), ("after", b)]
    if pair.sem_a is not None and pair.sem_b is not None:
        maps = [to_rgb(m.cpu().numpy().astype(np.uint8)) for m in (pair.sem_a, pair.sem_b)]
        pictures += [("map before", maps[0]), ("map after", maps[1])]
        legend = panel(0, 4, "classes")
        present = sorted({int(c) for m in (pair.sem_a, pair.sem_b) for c in m.unique()})
        for line, c in enumerate(present):
            box = {"facecolor": PALETTE[c] / 255, "edgecolor": "0.5", "linewidth": 0.8}
            legend.add_patch(Rectangle((0.02, 0.88 - 0.13 * line), 0.08, 0.08, transform=legend.transAxes, **box))
            legend.text(0.14, 0.92 - 0.13 * line, CLASSES[c], fontsize=11, va="center", transform=legend.transAxes)
    for column, (label, pixels) in enumerate(pictures):
        panel(0, column, label).imshow(pixels, interpolation="nearest")
    if words:
        shares = np.stack([look * look.size for _, _, look in words])
        style: dict[str, Any] = {"cmap": "inferno", "vmin": 0.0, "vmax": max(2.0, float(shares.max()))}
        for i, ((word, probability, _), share) in enumerate(zip(words, shares, strict=True)):
            row, column = 1 + 2 * i // _COLUMNS, 2 * i % _COLUMNS
            _look(panel(row, column, f"{word} {probability:.0%}, before"), a, share, style)
            _look(panel(row, column + 1, "after"), b, share, style)
        length = min(3.2, height - head - _PANEL - 0.8)
        bottom = 1 - (head + _PANEL + 0.7 + length) / height
        bar = fig.add_axes((0.025 + _COLUMNS * width, bottom, 0.014, length / height))
        scale = ScalarMappable(Normalize(style["vmin"], style["vmax"]), style["cmap"])
        fig.colorbar(scale, cax=bar).set_label("attention, times the even share", fontsize=10)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())


def draw_prepared(path: Path, before: Pair, after: Pair, valid: Tensor, row: Mapping[str, Any]) -> None:
    """Draw what preparing did to one pair: dates as a checkerboard and their difference, as they were and as they are.

    Args:
        path: the PNG file, written whole or not at all.
        before: the pair as it was, uint8 images ``(3, H, W)``.
        after: the pair as it is.
        valid: ``(H, W)`` bool, where both dates show the place now; elsewhere nothing is drawn.
        row: what :func:`changecap.inference.prepare.prepare_files` tells of the pair.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    height, width = valid.shape
    side = 3.3  # inches of a panel's width
    tall = side * min(max(height / width, 0.4), 2.0)
    head, gap = 0.8 + 0.17 * len(row["steps"]), 0.34
    size = (3 * side + 1.2, head + 2 * (tall + gap) + 0.1)
    fig = Figure(figsize=size, dpi=100)
    fig.text(0.1 / size[0], 1 - 0.1 / size[1], row["id"], fontsize=15, weight="bold", va="top")
    fig.text(0.1 / size[0], 1 - 0.46 / size[1], "\n".join(map(step_text, row["steps"])), fontsize=10, va="top")
    everywhere = np.ones((height, width), bool)
    for told in row["steps"]:
        if "confidence" in told:
            _confidence(fig.add_axes((0.72, 1 - 0.62 / size[1], 0.2, 0.16 / size[1])), told["confidence"])
    states = (("as it was", before, everywhere), ("prepared", after, valid.numpy()))
    apart = [np.abs(np.subtract(*(_pixels(x).astype(float) for x in pair[:2]))).mean(2) / 255 for _, pair, _ in states]
    style: dict[str, Any] = {"cmap": "inferno", "vmin": 0.0, "vmax": max(0.1, float(np.quantile(apart[0], 0.98)))}
    for line, ((state, pair, seen), difference) in enumerate(zip(states, apart, strict=True)):
        a, b = (_pixels(x) for x in pair[:2])
        b = np.where(seen[..., None], b, 235)
        bottom = (size[1] - head - (line + 1) * (tall + gap) + 0.02) / size[1]
        panels = {
            f"date {'ab'[line]}, {state}": (a, b)[line],
            f"checkerboard, {state}": np.where(_squares(height, width)[..., None], a, b),
            f"difference, {state}: mean {difference[seen].mean():.3f}" if seen.any() else f"difference, {state}": None,
        }
        for column, (label, picture) in enumerate(panels.items()):
            place = ((0.1 + column * (side + 0.08)) / size[0], bottom, side / size[0], tall / size[1])
            axes = fig.add_axes(place)
            axes.set_title(label, fontsize=10, loc="left", pad=3)
            axes.set_axis_off()
            if picture is None:
                axes.set_facecolor("0.92")
                shown = axes.imshow(np.ma.masked_where(~seen, difference), interpolation="nearest", **style)
            else:
                axes.imshow(picture, interpolation="nearest")
    scale = fig.add_axes(((3 * side + 0.4) / size[0], bottom, 0.14 / size[0], (2 * tall + gap) / size[1]))
    fig.colorbar(shown, cax=scale, extend="max")
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())


def _confidence(axes: Any, confidence: float) -> None:
    """A bar from 0 to 1."""
    axes.barh(0, 1, color="0.9")
    axes.barh(0, confidence, color="tab:green" if confidence > 0.5 else "tab:orange")
    axes.set(xlim=(0, 1), ylim=(-0.4, 0.4), yticks=[], xticks=[0, 0.5, 1])
    axes.tick_params(labelsize=8, length=2, pad=1)
    axes.set_title(f"confidence of the registration: {confidence:.0%}", fontsize=10, loc="left", pad=3)


def _squares(height: int, width: int) -> np.ndarray:
    """A checkerboard ``(H, W)`` bool, six squares along the shorter side."""
    side = max(1, -(-min(height, width) // 6))
    return (np.arange(height)[:, None] // side + np.arange(width) // side) % 2 == 0


def step_text(told: Mapping[str, Any]) -> str:
    """What a step did to a pair, in a line."""
    if "matrix" in told:
        (_, _, x), (_, _, y), _ = told["matrix"]
        done = f"moved by {math.hypot(x, y):.1f} px at the upper left" if told["ok"] else "refused, left where it was"
        line = f"{told['step']}: {done}; {told['confidence']:.0%} sure to be within 1.5 px"
        if "flow" not in told:
            return line
        relief = f"{told['flow']:.1f} px of relief, {told['flow_confidence']:.0%} sure" if told["flow"] else "no relief"
        return f"{line}; {relief}"
    values = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items() if k != "step")
    return f"{told['step']}: {', '.join(values)}"


def _look(axes: Any, pixels: np.ndarray, share: np.ndarray, style: Mapping[str, Any]) -> None:
    """Lay ``share`` ``(h, w)`` over the image ``(H, W, 3)``; what was not looked at shows the land."""
    height, width = pixels.shape[:2]
    axes.imshow(pixels @ np.array([0.299, 0.587, 0.114]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    seen = np.clip(0.1 + 0.7 * share / style["vmax"], 0, 0.8)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(share, alpha=seen, extent=extent, interpolation="bilinear", **style)


def _content_words(caption: "Caption") -> list[tuple[str, float, np.ndarray]]:
    """Words that say something, with their probability and where they were looked for ``(h, w)``."""
    if caption.attention is None:
        raise ValueError("a figure needs a caption with attention: caption(pair, attend=True)")
    rows = zip(caption.words, caption.log_probabilities, caption.attention, strict=False)  # the end has one more
    return [(word, math.exp(p), look) for word, p, look in rows if word not in _FUNCTION_WORDS.split()]


def _pixels(image: Tensor) -> np.ndarray:
    """``(3, H, W)`` as ``(H, W, 3)`` uint8."""
    scaled = image * 255 if image.is_floating_point() else image
    return scaled.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
