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

from .data.palette import PALETTE, to_rgb
from .facts import CLASSES
from .metrics import write_whole

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
