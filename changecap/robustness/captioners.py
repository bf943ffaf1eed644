"""Who is tried: captioners of this project, and any callable that says a sentence of each pair of a batch."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preprocess import Pair
from zoo.layers.feature_cache import features

from ..errors import ConfigError, DataError
from ..inference.captioner import Captioner, load
from ..language.tokenizer import WORD_LIST
from .inputs import Look

Say = Callable[[Tensor, Tensor], Sequence[str]]
Anyone = Captioner | Say | str | Path
Captioners = Anyone | Mapping[str, Anyone | Sequence[Anyone]] | Sequence[Anyone]
_REUSED = 1 << 30  # bytes of features that a captioner keeps of the untouched side


class Speaker:
    """One who is tried, with all that its sentences depend on.

    Args:
        name: What it is called.
        system: What it and its like, which differ in their seed alone, are called together.
        who: A captioner, or a callable ``(a, b) -> sentences`` of images ``(B, 3, H, W)``, float in [0, 1].
        beams: Width of the beam search; a callable searches as it likes.
        decode: Other settings of the search, see :meth:`changecap.Captioner.decoding`.
    """

    def __init__(
        self, name: str, system: str, who: Captioner | Say, beams: int = 1, decode: Mapping[str, Any] | None = None
    ) -> None:
        self.name, self.system, self.who = name, system, who
        self.beams, self.decode = beams, dict(decode or {})
        self._kept: dict[int, tuple[Tensor, list[Tensor]]] = {}  # first row -> images of the untouched side, features
        self._bytes = 0
        if isinstance(who, Captioner):
            if self.decode.get("do_sample"):
                raise ConfigError("a benchmark draws no words: leave out do_sample")
            who.decoding(beams, self.decode)
            self.inputs = who.inputs
            self.look = Look(who.prepare if who.prepare.names else None, who.size, self.inputs != "rgb")
            self.fingerprint: dict[str, Any] = {
                "weights": _weights(who),
                "preprocess": who.prepare.config,
                "size": who.size,
                "beams": beams,
                "decode": self.decode,
            }
        else:
            self.inputs, self.look = "rgb", Look(None, None, False)
            self.fingerprint = {"callable": name}  # what is inside cannot be told: another name for another captioner

    def is_of(self, model: str) -> bool:
        """Whether it is a captioner of the zoo's ``model``."""
        return isinstance(self.who, Captioner) and self.who.config["model"]["name"] == model

    def say(self, view: Pair, batch: int, still: str | None = None) -> list[str]:
        """A sentence of each pair.

        Args:
            view: The pairs as they are seen, ``(P, ...)`` uint8.
            batch: Pairs captioned at a time.
            still: The date, ``"a"`` or ``"b"``, that most conditions do not touch; what its images gave is kept.

        Raises:
            DataError: A callable says too few or too many sentences, or something else than a sentence.
        """
        said: list[str] = []
        for start in range(0, len(view.a), batch):
            part = Pair(*(None if x is None else x[start : start + batch] for x in view))  # type: ignore[arg-type]
            if isinstance(self.who, Captioner):
                with self._sparing(start, part, still):
                    said += [caption.text for caption in self.who.caption(part, self.beams, decode=self.decode)]
            else:
                a, b, _, _ = part.float()
                said += _sentences(self.name, self.who(a, b), len(a))
        return said

    def forget(self) -> None:
        """Let go of the features that were kept."""
        self._kept, self._bytes = {}, 0

    @contextmanager
    def _sparing(self, start: int, part: Pair, still: str | None) -> Iterator[None]:
        """Within, the features of the untouched side are those kept, where its images are the same."""
        assert isinstance(self.who, Captioner)
        images, known = self._kept.get(start, (None, []))
        if still is None or self.inputs != "rgb":
            yield
            return
        mine: Tensor = getattr(part, still)
        rows = len(mine)
        if images is not None and len(images) >= rows and torch.equal(images[:rows], mine):
            with features(self.who.model, still, [x[:rows] for x in known]):
                yield
        elif images is None and self._bytes < _REUSED:
            with features(self.who.model, still) as kept:
                yield
            self._kept[start] = mine, kept
            self._bytes += sum(x.nbytes for x in kept)
        else:
            yield


def speakers(
    captioners: Captioners,
    device: str = "cpu",
    beams: int = 1,
    decode: Mapping[str, Any] | None = None,
) -> list[Speaker]:
    """Everyone who is tried.

    Args:
        captioners: One or several: captioners, their folders, callables. A mapping names them, and a list in it holds
            the seeds of one configuration. Folders without a name are called as they are, and those of one model and
            one name but for a number at its end are taken for seeds.
        device: Where folders are loaded to.
        beams: Width of the beam search.
        decode: Other settings of the search.

    Raises:
        ConfigError: There is none, two have one name, or what is given is no captioner.
        CheckpointError: A folder holds none.
    """
    if isinstance(captioners, Captioner | str | Path) or callable(captioners):
        captioners = [captioners]
    found: list[Speaker] = []
    if isinstance(captioners, Mapping):
        for system, given in captioners.items():
            several = [*given] if isinstance(given, list | tuple) else [given]
            for n, one in enumerate(several):
                name = f"{system}-{n}" if len(several) > 1 else str(system)
                found.append(Speaker(name, str(system), _who(one, device), beams, decode))
    else:
        named = [(_name(one), _who(one, device)) for one in captioners]
        stems = {name: _stem(name, who) for name, who in named}
        alike = [*stems.values()]
        for name, who in named:
            short, _ = stems[name]
            system = short if alike.count(stems[name]) > 1 else name
            found.append(Speaker(name, system, who, beams, decode))
    names = [speaker.name for speaker in found]
    if not names:
        raise ConfigError("a benchmark needs a captioner: give its folder, itself, or a callable (a, b) -> sentences")
    if twice := [name for n, name in enumerate(names) if name in names[:n]]:
        raise ConfigError(f"two captioners are called {twice[0]!r}; give a mapping with a name for each")
    return found


def _who(one: Any, device: str) -> Captioner | Say:
    if isinstance(one, str | Path):
        return load(one, device)
    if isinstance(one, Captioner) or callable(one):
        return one
    raise ConfigError(f"a captioner is a folder, a changecap.Captioner or a callable, got {type(one).__name__}")


def _name(one: Any) -> str:
    if isinstance(one, str | Path):
        path = Path(one)
        return path.parent.name if path.name in ("best", "last") and path.parent.name else path.name or str(path)
    if isinstance(one, Captioner):
        return str(one.config["model"]["name"])
    return str(getattr(one, "__name__", type(one).__name__))


def _stem(name: str, who: Captioner | Say) -> tuple[str, str]:
    """Name less its number, and what the captioner is; equal for seeds of one configuration."""
    if not isinstance(who, Captioner):
        return name, name
    short = re.sub(r"[\W_]*(seed)?[\W_]*\d+$", "", name)
    return short or name, json.dumps([who.config["model"], who.prepare.config, who.size], sort_keys=True, default=str)


def _weights(captioner: Captioner) -> str:
    """SHA-256 of weights, tokenizer and what the model was built from."""
    tokenizer = captioner.vocabulary
    described = [captioner.config["model"], tokenizer.pieces(range(len(tokenizer)))]
    # A word list is its words, and stores from before there were others know it by them alone.
    if tokenizer.kind != WORD_LIST:
        described.append(tokenizer.hash)
    digest = hashlib.sha256(json.dumps(described, default=str).encode())
    for name, tensor in sorted(captioner.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _sentences(name: str, said: Any, count: int) -> list[str]:
    """What a callable said of ``count`` pairs, if these are that many sentences."""
    if isinstance(said, str) or not isinstance(said, Sequence):
        raise DataError(
            f"captioner {name!r} must return a list of {count} sentences for {count} pairs, got {type(said).__name__}"
        )
    if len(said) != count:
        raise DataError(f"captioner {name!r} must say one sentence of each of {count} pairs, got {len(said)}")
    for n, sentence in enumerate(said):
        if not isinstance(sentence, str):
            raise DataError(f"captioner {name!r} must say sentences, got {sentence!r} of pair {n} of a batch")
    return list(said)
