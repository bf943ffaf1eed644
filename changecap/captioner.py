"""Model, vocabulary and input size as one thing that is called with two images and answers with a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import zoo
from preprocess import Pair

from . import checkpoint
from .data.dataset import read_image, read_map
from .data.palette import to_classes
from .decode import search
from .errors import DataError
from .nochange import says_no_change
from .vocabulary import Vocabulary

Picture = str | Path | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Caption:
    """A sentence about a pair.

    ``score`` is the sum of the natural logarithms of its words' probabilities, the end of the sentence included;
    ``log_probabilities`` has one entry per word and one for the end. ``changed`` is false where the sentence is one
    of the data sets' no-change sentences.
    """

    text: str
    score: float
    words: tuple[str, ...]
    log_probabilities: tuple[float, ...]
    changed: bool


class Captioner:
    """Says what changed between two images of one place.

    Args:
        model: any captioner of the zoo, in evaluation mode.
        vocabulary: of the words it says.
        config: of the checkpoint; ``config["size"]`` is the side in pixels that the model sees.
    """

    def __init__(self, model: zoo.Captioner, vocabulary: Vocabulary, config: Mapping[str, Any]) -> None:
        self.model, self.vocabulary, self.config = model, vocabulary, dict(config)

    @property
    def inputs(self) -> str:
        """What the model was built to see: ``"rgb"``, ``"maps"`` or ``"both"``."""
        return self.model.inputs

    @property
    def size(self) -> int:
        """Side in pixels of the images that the model sees."""
        return int(self.config["size"])

    def __call__(
        self,
        a: Picture | Sequence[Picture],
        b: Picture | Sequence[Picture],
        sem_a: Picture | Sequence[Picture] | None = None,
        sem_b: Picture | Sequence[Picture] | None = None,
        *,
        beams: int = 3,
    ) -> Caption | list[Caption]:
        """Caption one pair, or lists of pairs in one batch.

        Args:
            a: before: a file, a PIL image, an array ``(H, W, 3)`` uint8 or a tensor ``(3, H, W)``, uint8 or float in
                [0, 1]; or a list of them.
            b: after, in the same number.
            sem_a: land-cover map before: a palette image file, or classes ``(H, W)`` as integers; needed unless the
                captioner's ``inputs`` is ``"rgb"``.
            sem_b: map after.
            beams: width of the beam; 1 is greedy.

        Returns:
            A :class:`Caption`, or a list of them for lists.

        Raises:
            DataError: an image cannot be read, sizes differ, a map is missing, or the lists are of unequal length.
        """
        one = not isinstance(a, list | tuple)
        if one:
            a, b, sem_a, sem_b = ([x] if x is not None else None for x in (a, b, sem_a, sem_b))
        lists = [x for x in (a, b, sem_a, sem_b) if x is not None]
        if len({len(x) for x in lists}) > 1:
            raise DataError(f"a, b and the maps must be lists of one length, got {[len(x) for x in lists]}")
        if self.inputs != "rgb" and (sem_a is None or sem_b is None):
            raise DataError(
                f"this captioner was trained with inputs={self.inputs}: it needs a land-cover map for both dates "
                "(sem_a, sem_b); train one with inputs=rgb for images alone"
            )
        pairs = [self._pair(*row) for row in zip(a, b, sem_a or [None] * len(a), sem_b or [None] * len(a), strict=True)]
        captions = self.caption(Pair.stack(pairs), beams=beams)
        return captions[0] if one else captions

    @torch.no_grad()
    def caption(self, pair: Pair, beams: int = 1, max_words: int = 60) -> list[Caption]:
        """Caption a batched ``pair`` (images ``(B, 3, H, W)``, maps ``(B, H, W)``), one answer per row."""
        device = next(self.model.parameters()).device
        a, b, sem_a, sem_b = pair.to(device).float()
        memory = self.model.encode(a, b, *(() if self.inputs == "rgb" else (sem_a, sem_b)))
        ids = {"start": self.vocabulary.start, "end": self.vocabulary.end}
        return [self._caption(f.best()) for f in search(self.model, memory, **ids, beams=beams, max_words=max_words)]

    def save(self, folder: str | Path) -> None:
        """Write model, vocabulary and configuration to ``folder``, for :func:`changecap.load`."""
        config = {key: value for key, value in self.config.items() if key not in ("files", "sha256", "format")}
        checkpoint.save(Path(folder), self.model, self.vocabulary, config)

    def _pair(self, a: Picture, b: Picture, sem_a: Picture | None, sem_b: Picture | None) -> Pair:
        images, maps = [_image(x) for x in (a, b)], [_map(x) if x is not None else None for x in (sem_a, sem_b)]
        if self.inputs == "rgb":
            maps = [None, None]
        named = {"a": images[0], "b": images[1], "sem_a": maps[0], "sem_b": maps[1]}
        sizes = {name: tuple(x.shape[-2:]) for name, x in named.items() if x is not None}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {h} x {w}" for name, (h, w) in sizes.items())
            raise DataError(f"the two dates and their maps must be of one size (height x width), got {shown}")
        return Pair(*images, *maps).resize(self.size)

    def _caption(self, hypothesis: Any) -> Caption:
        text = self.vocabulary.decode(hypothesis.ids)
        return Caption(
            text, hypothesis.score, tuple(text.split()), hypothesis.log_probabilities, not says_no_change(text)
        )


def load(folder: str | Path, device: str = "cpu") -> Captioner:
    """The captioner saved in ``folder``: a checkpoint, or a run, whose best checkpoint is taken.

    Raises:
        CheckpointError: the folder is no checkpoint, or is damaged.
    """
    return Captioner(*checkpoint.load(checkpoint.best_of(Path(folder)), device))


def _image(x: Picture) -> Tensor:
    """Any picture as a tensor ``(3, H, W)``."""
    if isinstance(x, str | Path):
        return read_image(Path(x))
    if isinstance(x, Image.Image):
        x = np.asarray(x.convert("RGB"))
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(np.ascontiguousarray(x))
        x = x.permute(2, 0, 1) if x.ndim == 3 else x
    if x.ndim != 3 or x.shape[0] != 3:
        raise DataError(f"an image must be (3, H, W) as a tensor or (H, W, 3) as an array, got {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not (x.is_floating_point() and x.min() >= 0 and x.max() <= 1):
        raise DataError(f"an image must be uint8 or float in [0, 1], got {x.dtype} in [{x.min()}, {x.max()}]")
    return x


def _map(x: Picture) -> Tensor:
    """A land-cover map as classes ``(H, W)``; files and RGB pictures carry the palette."""
    if isinstance(x, str | Path):
        return read_map(Path(x))
    if isinstance(x, Image.Image):
        x = np.asarray(x.convert("RGB"))
    if isinstance(x, np.ndarray):
        x = torch.from_numpy(to_classes(x) if x.ndim == 3 else np.ascontiguousarray(x))
    if x.ndim != 2 or x.is_floating_point():
        raise DataError(f"a map must be integer classes (H, W), got {x.dtype} {tuple(x.shape)}")
    return x
