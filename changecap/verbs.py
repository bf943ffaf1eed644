"""What each verb of the command line does with its resolved configuration.

What does the work is imported when it is called: help must not wait for torch.
"""

import json
import math
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .errors import ConfigError, UsageError

Config = dict[str, Any]


@dataclass(frozen=True)
class Verb:
    """What a verb does.

    ``run`` takes the resolved configuration and the keys that were given, and returns the exit status.
    """

    examples: tuple[str, ...]
    run: Callable[[Config, set[str]], int]


def _train(config: Config, given: set[str]) -> int:
    from .train import train

    if config["resume"] is not None:
        if others := sorted(given - {"resume", "device"}):
            raise UsageError(f"resume goes on with the settings of its run; leave out {', '.join(others)}")
        config = {key: config[key] for key in given}
    out = train(config)
    print(f"run: {out}\nnext: changecap evaluate checkpoint={shlex.quote(str(out))}")
    return 0


def _evaluate(config: Config, given: set[str]) -> int:
    from .captioner import load as load_captioner
    from .checkpoint import best_of
    from .data import ensure, load
    from .evaluate import evaluate, print_card

    checkpoint = best_of(Path(config["checkpoint"]))
    captioner = load_captioner(checkpoint, _device(config))
    data = _data_of(config.get("data") or {}, captioner.config.get("data") or {}, given)
    ensure(data)
    size = data["size"] if "data.size" in given else captioner.size
    read = partial(load, data["name"], data["root"], size=size, maps=captioner.inputs != "rgb", palette=data["palette"])
    # absent in runs from before there were packs
    read = partial(read, pack=data.get("pack", False), workers=config["workers"], progress=True)
    tested = read(split=config["split"])
    known = read(split="train") if config["baselines"] else None
    for dataset in filter(None, (tested, known)):
        dataset.preload(config["workers"], progress=True)
    run = checkpoint.parent if checkpoint.name in ("best", "last") else checkpoint
    out = Path(config["out"] or run / config["split"])
    card = evaluate(
        captioner,
        tested,
        known,
        out,
        maps_are=config["maps"],
        history=_history(run / "metrics.jsonl"),
        **{key: config[key] for key in ("beams", "batch", "baselines", "limit", "report")},
    )
    print(print_card(card))
    print(f"report: {out / 'report.html'}" if config["report"] else f"results: {out}")
    return 0


def _caption(config: Config, given: set[str]) -> int:
    as_json = _wants_json(config)
    from .captioner import Caption, load

    captioner = load(config["checkpoint"], _device(config))
    pictures = [config[key] for key in ("a", "b", "sem_a", "sem_b")]
    caption = captioner(*pictures, beams=config["beams"])
    assert isinstance(caption, Caption)
    if as_json:
        probabilities = map(math.exp, caption.log_probabilities)  # one more than words: the end of the sentence
        words = [{"word": w, "probability": p} for w, p in zip(caption.words, probabilities, strict=False)]
        content = {
            "text": caption.text,
            "log_probability": caption.score,
            "changed": caption.changed,
            "words": words,
        }
        print(json.dumps(content, ensure_ascii=False))
    else:
        print(f"{caption.text}\nlog-probability {caption.score:.2f} · {'changed' if caption.changed else 'unchanged'}")
    return 0


def _score(config: Config, given: set[str]) -> int:
    as_json = _wants_json(config)
    from .metrics import score_files

    scores = score_files(**{key: path and Path(path) for key, path in config.items() if key != "format"})
    if as_json:
        print(json.dumps(scores, ensure_ascii=False))
    else:
        print(f"{'':12}" + "".join(f"{name:>9}" for name in scores["corpus"]))
        for name, row in {"all pairs": scores["corpus"], **scores["subsets"]}.items():
            values = [f"{row[metric]:9.4f}" if row else f"{'-':>9}" for metric in scores["corpus"]]
            print(f"{name.replace('_', '-'):12}" + "".join(values))
    return 0


def _synth(config: Config, given: set[str]) -> int:
    from .data.synthetic import write

    print(f"data set: {write(**config)}")
    return 0


def _parity(config: Config, given: set[str]) -> int:
    as_json = _wants_json(config)
    from . import parity

    checks = parity.parity(Path(config["fixture"]))
    print(parity.as_json(checks) if as_json else parity.table(checks))
    return 0 if all(check.ok for check in checks) else 1


def _data_of(config: Config, stored: Config, given: set[str]) -> Config:
    """The data to evaluate on: those of the checkpoint, with what was given in their place."""
    if "data" in given:
        return config
    if not stored:
        raise ConfigError("the checkpoint does not say what it was trained on; give data=second_cc data.root=FOLDER")
    numbers = {**(stored.get("synth") or {}), **config.get("synth", {})}
    # another folder is one that exists: a slip of its name must not be answered with simulated data
    simulated = bool(numbers) and ("data.root" not in given or "synth" in config)
    return {**stored, **config, "synth": numbers if simulated else None}


def _history(path: Path) -> list[Config] | None:
    """Rows of a run's metrics; a line torn by a crash is left out."""
    if not path.is_file():
        return None
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _device(config: Config) -> str:
    from .train import device_of as device

    return str(device(config["device"]))


def _wants_json(config: Config) -> bool:
    if config["format"] not in ("text", "json"):
        raise UsageError(f"format must be text or json, got {config['format']!r}")
    return bool(config["format"] == "json")


VERBS = {
    "train": Verb(
        ("changecap train experiment=demo", "changecap train data=second_cc data.root=SECOND-CC-AUG model.dropout=0.2"),
        _train,
    ),
    "evaluate": Verb(
        ("changecap evaluate checkpoint=runs/demo", "changecap evaluate checkpoint=runs/demo split=val beams=3"),
        _evaluate,
    ),
    "caption": Verb(
        (
            "changecap caption checkpoint=runs/demo a=before.png b=after.png sem_a=map_a.png sem_b=map_b.png",
            "changecap caption checkpoint=runs/rgb a=before.png b=after.png format=json",
        ),
        _caption,
    ),
    "score": Verb(("changecap score references=references.json hypotheses=hypotheses.json",), _score),
    "synth": Verb(("changecap synth out=data/synth256 pairs=1000 size=256",), _synth),
    "parity": Verb(("changecap parity fixture=tests/golden/mmodalcc/public",), _parity),
}
