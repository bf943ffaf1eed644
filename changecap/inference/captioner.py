"""Model, vocabulary and input size as one thing that is called with two images and answers with a sentence."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import zoo
from preprocess import Pair

from ..checkpoints import checkpoint, weights
from ..checkpoints.evaluation_summary import remembered
from ..checkpoints.model_card import model_card
from ..data.augmentation import chains
from ..data.dataset import read_image, read_map
from ..errors import CheckpointError, ConfigError, DataError
from ..io import geotiff
from ..io.atomic import write_whole
from ..landcover import CLASSES, to_classes
from ..language.no_change import says_no_change
from ..language.tokenizer import Tokenizer, without_special
from .decoding import Decoding, Ids
from .search import Hypothesis, search

Picture = str | Path | Image.Image | np.ndarray | Tensor


HUB = "hf-hub:"  # before the name of a captioner there, as timm writes it


@dataclass(frozen=True)
class Caption:
    """A sentence about a pair.

    ``score`` is the sum of the natural logarithms of its words' probabilities, the end of the sentence included;
    ``log_probabilities`` has one entry per word and one for the end. ``changed`` is false where the sentence is one
    of the data sets' no-change sentences. ``attention`` ``(words, h, w)``, where it was asked for, says where on the
    images each word was looked for; each map sums to 1. ``others`` are the next best sentences, where more than one
    was asked for, with their attention.
    """

    text: str
    score: float
    words: tuple[str, ...]
    log_probabilities: tuple[float, ...]
    changed: bool
    attention: np.ndarray | None = None
    others: tuple["Caption", ...] = ()


class Captioner:
    """Says what changed between two images of one place.

    Args:
        model: any captioner of the zoo, in evaluation mode.
        vocabulary: the tokenizer of the words it says.
        config: of the checkpoint; ``config["size"]`` is the side in pixels that the model sees, and
            ``config["preprocess"]`` what is done to a pair before, in its own size.

    Raises:
        CheckpointError: the preprocessing is not known here.
    """

    def __init__(self, model: zoo.Captioner, vocabulary: Tokenizer, config: Mapping[str, Any]) -> None:
        self.model, self.vocabulary, self.config = model, vocabulary, dict(config)
        try:
            self.prepare = chains(self.config.get("preprocess"))[0]
        except ConfigError as error:
            raise CheckpointError(f"the checkpoint's preprocessing cannot be done: {error}") from None

    @property
    def inputs(self) -> str:
        """What the model was built to see: ``"rgb"``, ``"maps"`` or ``"both"``."""
        return self.model.inputs

    @property
    def size(self) -> int:
        """Side in pixels of the images that the model sees."""
        return int(self.config["size"])

    @property
    def raster(self) -> dict[str, Any]:
        """The ``bands`` and ``scale`` of GeoTIFFs that the model was trained on, in so far as its checkpoint knows."""
        data = self.config.get("data") or {}
        return {key: data[key] for key in ("bands", "scale") if key in data}

    def __call__(
        self,
        a: Picture | Sequence[Picture],
        b: Picture | Sequence[Picture],
        sem_a: Picture | Sequence[Picture] | None = None,
        sem_b: Picture | Sequence[Picture] | None = None,
        *,
        beams: int = 3,
        decode: Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
        **raster: Any,
    ) -> Caption | list[Caption]:
        """Caption one pair, or lists of pairs in one batch.

        Args:
            a: before: a file, a PIL image, an array ``(H, W, 3)`` uint8 or a tensor ``(3, H, W)``, uint8 or float in
                [0, 1]; or a list of them.
            b: after, in the same number.
            sem_a: land-cover map before: a picture on the palette, or classes ``(H, W)`` as integers; needed unless
                the captioner's ``inputs`` is ``"rgb"``, which does not look at maps.
            sem_b: map after.
            beams: width of the beam; 1 is greedy.
            decode: other settings of the search, see :meth:`decoding`.
            generator: what words are drawn with, where ``decode`` says ``do_sample``.
            raster: how GeoTIFFs are read (``window``, ``bands``, ``scale``), see
                :func:`changecap.io.geotiff.read_pair`; what is not said is as in training.

        Returns:
            A :class:`Caption`, or a list of them for lists.

        Raises:
            DataError: an image cannot be read or is all black, sizes differ, a map is missing, the lists are of unequal
                length, or ``raster`` is given for what is no GeoTIFF.
            ConfigError: the search cannot be done so, see :meth:`decoding`.
        """
        pictures = (a, b, sem_a, sem_b)
        listed = [x for x in pictures if isinstance(x, list | tuple)]
        count = len(listed[0]) if listed else 1
        columns = [[x] if not listed else [None] * count if x is None else x for x in pictures]
        lengths = [len(x) if isinstance(x, list | tuple) else "one picture" for x in columns]
        if lengths != [count] * 4:
            raise DataError(f"a, b and the maps must be lists of one length, got {', '.join(map(str, lengths))}")
        pairs = [self.read(*row, **raster) for row in zip(*columns, strict=True)]
        captions = self.caption(Pair.stack(pairs), beams, decode=decode, generator=generator) if pairs else []
        return captions if listed else captions[0]

    @torch.no_grad()
    def caption(
        self,
        pair: Pair,
        beams: int = 1,
        attend: bool = False,
        decode: Mapping[str, Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> list[Caption]:
        """Caption a batched ``pair``, one answer per row.

        Args:
            pair: images ``(B, 3, H, W)``, maps ``(B, H, W)``.
            beams: width of the beam; 1 is greedy.
            attend: tell for each word where it was looked for, of the other sentences too.
            decode: other settings of the search, see :meth:`decoding`.
            generator: what words are drawn with, where ``decode`` says ``do_sample``.

        Raises:
            ConfigError: the search cannot be done so, see :meth:`decoding`.
        """
        decoding = self.decoding(beams, decode)
        device = next(self.model.parameters()).device
        a, b, sem_a, sem_b = pair.to(device).float()
        memory = self.model.encode(a, b, *(() if self.inputs == "rgb" else (sem_a, sem_b)))
        ids = {"start": self.vocabulary.bos, "end": self.vocabulary.eos}
        found = search(self.model, memory, decoding, **ids, generator=generator)
        ranked = [one.ranked(decoding.length_penalty)[: decoding.num_return_sequences] for one in found]
        captions = [[self._caption(hypothesis) for hypothesis in one] for one in ranked]
        if attend:
            looks = self._attend(ranked, memory)
            captions = [[replace(caption, attention=next(looks)) for caption in one] for one in captions]
        return [replace(best, others=tuple(rest)) for best, *rest in captions]

    def decoding(self, beams: int = 1, settings: Mapping[str, Any] | None = None) -> Decoding:
        """How to search with this captioner's vocabulary.

        Args:
            beams: width of the beam; 1 is greedy.
            settings: the other arguments of :class:`changecap.inference.decoding.Decoding`, forced and bad words as
                words.

        Raises:
            ConfigError: a setting is unknown, out of range or contradicts another; the beam is wider than the
                vocabulary, a word is not in it, or sentences may become longer than the model can say.
        """
        given, longest = dict(settings or {}), self.model.max_words
        known = [field.name for field in fields(Decoding) if field.name != "beams"]
        if unknown := [name for name in given if name not in known]:
            raise ConfigError(f"decode knows no {unknown[0]!r}; it knows {', '.join(known)}")
        given |= {name: self._ids(name, given[name]) for name in ("force_words", "bad_words") if name in given}
        decoding = Decoding(beams, **{"max_length": min(Decoding.max_length, longest), **given})
        if decoding.max_length > longest:
            raise ConfigError(f"max_length={decoding.max_length}, but this captioner says at most {longest} words")
        decoding.check(len(self.vocabulary), self.vocabulary.bos, self.vocabulary.eos)
        return decoding

    def _ids(self, name: str, words: Sequence[str]) -> tuple[Ids, ...]:
        """Ids of each of the ``words`` of setting ``name``."""
        if isinstance(words, str):
            raise ConfigError(f"{name} must be a list of words, got {words!r}")
        tokenizer = self.vocabulary
        pieces = tokenizer.pieces(range(len(tokenizer)))

        found: list[Ids] = []
        for word in words:
            ids = tuple(tokenizer.encode(word)) if isinstance(word, str) else ()
            whole = bool(ids) and tokenizer.unk not in ids and tokenizer.decode(ids) == word
            if whole:
                found.append(ids)
            # Special words, and such as only the authors of a data set write, are pieces that no text is encoded to.
            elif word in pieces:
                found.append((pieces.index(word),))
            else:
                near = get_close_matches(str(word), pieces, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"{name}: {word!r} is not one of the {len(tokenizer)} words it knows{hint}")
        return tuple(found)

    def save(self, folder: str | Path) -> None:
        """Write model, vocabulary, configuration and a model card to ``folder``, for :func:`changecap.load`.

        The files are called as the hub has them, so that the folder can be uploaded as it is.
        """
        config = {key: value for key, value in self.config.items() if key not in ("files", "sha256", "format")}
        checkpoint.save(Path(folder), self.model, self.vocabulary, config, plain=True)
        write_whole(Path(folder) / "README.md", model_card(config, self.model, len(self.vocabulary)))

    def read(
        self, a: Picture, b: Picture, sem_a: Picture | None = None, sem_b: Picture | None = None, **raster: Any
    ) -> Pair:
        """One pair as the model sees it, float; see :meth:`__call__`.

        Two GeoTIFFs are brought to one grid; ``raster``: their ``window``, ``bands`` and ``scale``, see
        :func:`changecap.io.geotiff.read_pair`.
        """
        self.need_maps(sem_a, sem_b)
        if (self.config.get("model", {}).get("backbone") or {}).get("name") == "features":
            raise DataError(
                "this captioner has no image encoder: it takes feature maps, not images; import it from a file that "
                "has one"
            )
        if _is_geotiff(a) and _is_geotiff(b):
            if self.inputs != "rgb":
                raster |= {"sem_a": sem_a, "sem_b": sem_b}
            pair = geotiff.read_pair(Path(str(a)), Path(str(b)), **{**self.raster, **raster}).pair
        elif raster:
            raise DataError(
                f"{', '.join(raster)} can be chosen of two GeoTIFFs (.tif) only, got {_named(a, 'a')} and "
                f"{_named(b, 'b')}; leave out {', '.join(raster)}"
            )
        else:
            pair = self._pair(a, b, sem_a, sem_b)
        if self.inputs != "maps":
            for name, picture, image in (("a", a, pair.a), ("b", b, pair.b)):
                if not image.any():
                    raise DataError(
                        f"{_named(picture, name)} is black in every pixel: there is nothing to compare; look whether "
                        "it was written whole, or take another window"
                    )
        if self.prepare.names:
            pair = self.prepare(pair)
        return pair.resize(self.size).float()  # bytes stay bytes while resized, as in training

    def need_maps(self, sem_a: object, sem_b: object) -> None:
        """Refuse to go on without a map of both dates where the captioner looks at maps.

        Raises:
            DataError: one is ``None``.
        """
        if self.inputs != "rgb" and (sem_a is None or sem_b is None):
            raise DataError(
                f"this captioner was trained with inputs={self.inputs}: it needs a land-cover map for both dates "
                "(sem_a, sem_b); train one with inputs=rgb for images alone"
            )

    def _pair(self, a: Picture, b: Picture, sem_a: Picture | None, sem_b: Picture | None) -> Pair:
        """Pictures that lie on one grid as a pair, in their own size."""
        images = {"a": a, "b": b}
        maps: dict[str, Any] = {} if self.inputs == "rgb" else {"sem_a": sem_a, "sem_b": sem_b}
        tensors = [*map(_image, images.values()), *map(_map, maps.values())]
        if len({x.shape[-2:] for x in tensors}) > 1:
            pictures = zip((images | maps).items(), tensors, strict=True)
            shown = ", ".join(f"{_named(x, key)} {t.shape[-2]} x {t.shape[-1]}" for (key, x), t in pictures)
            raise DataError(
                f"the two dates and their maps must be of one size (height x width), got {shown}; cut them alike"
            )
        return Pair(*tensors)

    def _attend(self, found: Sequence[Sequence[Hypothesis]], memory: zoo.Memory) -> Iterator[np.ndarray]:
        """Where each word of each sentence of each pair was looked for ``(words, h, w)``, one sentence after the other.

        The images are square, so is the grid.
        """
        most, longest = max(map(len, found)), max(len(h.ids) for one in found for h in one)
        words = torch.full((len(found), most, longest), self.vocabulary.pad)  # pairs may have fewer sentences than most
        for i, one in enumerate(found):
            for k, hypothesis in enumerate(one):
                words[i, k, : len(hypothesis.ids)] = torch.tensor(hypothesis.ids)
        looks = self.model.attend(words.flatten(0, 1).to(memory[0].device), memory).unflatten(0, (-1, most))
        side = math.isqrt(looks.shape[-1])
        silent = (self.vocabulary.bos, self.vocabulary.pad, self.vocabulary.eos)
        for one, look in zip(found, looks.cpu().numpy(), strict=True):
            for hypothesis, seen in zip(one, look, strict=False):
                places = [j for j, word in enumerate(hypothesis.ids[1:]) if word not in silent]
                yield seen[places].reshape(-1, side, side)

    def _caption(self, hypothesis: Hypothesis) -> Caption:
        text = self.vocabulary.decode(hypothesis.ids)
        words = tuple(self.vocabulary.pieces(without_special(self.vocabulary, hypothesis.ids)))
        return Caption(text, hypothesis.score, words, hypothesis.log_probabilities, not says_no_change(text))


def load(folder: str | Path, device: str = "cpu") -> Captioner:
    """The captioner saved in ``folder``: a checkpoint, or a run, whose best checkpoint is taken.

    ``"hf-hub:organisation/name"`` is one on the hub, taken from the hub's cache where it is there.

    Raises:
        CheckpointError: the folder is no checkpoint, or is damaged.
        WeightsUnavailableError: the hub's is neither in the cache nor to be had.
    """
    if str(folder).startswith(HUB):
        folder = weights.fetch(str(folder).removeprefix(HUB))
    folder = checkpoint.best_of(Path(folder))
    model, vocabulary, config = checkpoint.load(folder, device)
    if (measured := remembered(folder, config)) is not None:
        config["evaluation"] = measured
    return Captioner(model, vocabulary, config)


def create_model(name: str, pretrained: bool | str = False, **kwargs: Any) -> zoo.Captioner:
    """Build the captioner ``name``, a module, in evaluation mode if it is ``pretrained``.

    Args:
        name: one of :func:`zoo.list_models`.
        pretrained: ``False``: random weights; ``True``: those of ``changecap/NAME`` on the hub or in its cache; else
            what :func:`load` takes.
        kwargs: of the model's class; those of a pretrained one are settled.

    Raises:
        ValueError: the name is not known.
        ConfigError: ``kwargs`` are given for a pretrained model.
        CheckpointError: the weights are of another model, or damaged.
        WeightsUnavailableError: they are not to be had; the message names the ways out.
    """
    zoo.model_class(name)
    if pretrained is False:
        return zoo.create_model(name, **kwargs)
    if kwargs:
        raise ConfigError(f"pretrained weights settle {', '.join(kwargs)}; leave them out, or pretrained")
    source = f"{HUB}changecap/{name}" if pretrained is True else pretrained
    captioner = load(source)
    if captioner.config["model"]["name"] != name:
        raise CheckpointError(f"{source} holds a {captioner.config['model']['name']}, not a {name}")
    return captioner.model


def _is_geotiff(x: Picture) -> bool:
    return isinstance(x, str | Path) and geotiff.is_geotiff(Path(x))


def _named(x: Picture | None, name: str) -> str:
    """What a message calls a picture: its file, where it is one."""
    return str(x) if isinstance(x, str | Path) else name


def _file(x: str | Path, what: str) -> Path:
    if not Path(x).is_file():
        raise DataError(f"no {what} at {x}; is the path right?")
    return Path(x)


def _image(x: Picture) -> Tensor:
    """Any picture as a tensor ``(3, H, W)``."""
    if isinstance(x, str | Path):
        return read_image(_file(x, "image"))
    x = _tensor(x, "an image")
    shape = tuple(x.shape)
    if x.ndim != 3 or x.shape[0] != 3 or not x.numel():
        raise DataError(f"an image must be (3, H, W) as a tensor or (H, W, 3) as an array, got {shape}, channels first")
    if x.dtype != torch.uint8:
        low, high = x.double().aminmax()
        if not (x.is_floating_point() and low >= 0 and high <= 1):
            raise DataError(f"an image must be uint8 or float in [0, 1], got {x.dtype} in [{low:g}, {high:g}]")
    return x


def _map(x: Picture) -> Tensor:
    """A land-cover map as classes ``(H, W)``; files and RGB pictures carry the palette."""
    if isinstance(x, str | Path):
        return read_map(_file(x, "land-cover map"))
    x = _tensor(x, "a map")
    if x.ndim == 3 and x.shape[0] == 3 and x.dtype == torch.uint8:
        return torch.from_numpy(to_classes(x.permute(1, 2, 0).numpy()))
    if x.ndim != 2 or not x.numel() or x.is_floating_point():
        raise DataError(
            f"a map must be integer classes (H, W) or a picture on the palette, got {x.dtype} {tuple(x.shape)}"
        )
    low, high = (int(v) for v in x.long().aminmax())
    if low < 0 or high >= len(CLASSES):
        raise DataError(f"classes of a map must be from 0 to {len(CLASSES) - 1}, got {low} to {high}")
    return x.long()


def _tensor(x: Picture, what: str) -> Tensor:
    """``x`` as it is, channels first if there are any."""
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, Image.Image):
        modes = ("RGB", "RGBA", "P") if what == "a map" else ("RGB", "RGBA", "P", "L")
        if x.mode not in modes:
            raise DataError(f"{what} must be a PIL image of mode {', '.join(modes)}, got {x.mode}; convert it to RGB")
        x = np.asarray(x.convert("RGB"))
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "biuf":
        kind = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise DataError(f"{what} must be a path, a PIL image, an array or a tensor of numbers, got {kind}")
    x = torch.from_numpy(np.array(x))  # a copy: what PIL hands out is read-only
    return x.permute(2, 0, 1) if x.ndim == 3 else x
