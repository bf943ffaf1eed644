"""What each verb of the command line does with its resolved configuration.

What does the work is imported when it is called: help must not wait for torch.
"""

import json
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ..data.file_pairs import Job
    from ..inference.captioner import Captioner

Config = dict[str, Any]


@dataclass(frozen=True)
class Verb:
    """What a verb does.

    ``run`` takes the resolved configuration and the keys that were given, and returns the exit status. ``settles``
    says of an argument of the model whether it can be given, ``plain`` which key arguments without one belong to.
    """

    examples: tuple[str, ...]
    run: Callable[[Config, set[str]], int]
    settles: Callable[[str], bool] = lambda argument: True
    plain: str | None = None


def _train(config: Config, given: set[str]) -> int:
    from ..training.loop import train

    if config["resume"] is not None:
        if others := sorted(given - {"resume", "device"}):
            raise UsageError(f"resume goes on with the settings of its run; leave out {', '.join(others)}")
        config = {key: config[key] for key in given}
    out = train(config)
    print(f"run: {out}\nnext: changecap evaluate checkpoint={shlex.quote(str(out))}")
    return 0


def _evaluate(config: Config, given: set[str]) -> int:
    from ..checkpoints.checkpoint import best_of
    from ..checkpoints.evaluation_summary import remember
    from ..data import arguments, ensure, load
    from ..evaluation.evaluate import evaluate
    from ..inference.captioner import load as load_captioner
    from ..reports.card_text import print_card

    checkpoint = best_of(Path(config["checkpoint"]))
    captioner = load_captioner(checkpoint, _device(config))
    _prepare(captioner, config)
    captioner.decoding(config["beams"], config["decode"])  # what cannot be done shows before data are read
    data = _data_of(config.get("data") or {}, captioner.config.get("data") or {}, given)
    ensure(data)
    said = arguments(data) | ({} if "data.size" in given else {"size": captioner.size})
    read = partial(load, **said, maps=captioner.inputs != "rgb", prepare=captioner.prepare)
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
        **_search(config),
        **{key: config[key] for key in ("batch", "baselines", "limit", "report")},
    )
    if config["out"] is None and config["split"] == "test" and config["limit"] is None:
        remember(checkpoint, captioner.config, card, data["name"])
    print(print_card(card))
    print(f"report: {out / 'report.html'}" if config["report"] else f"results: {out}")
    return 0


def _caption(config: Config, given: set[str]) -> int:
    form = _form(config, "text", "json", "csv")
    jobs, raster = _jobs(config), _raster(config)
    out, figures = (config[key] and Path(config[key]) for key in ("out", "figure"))
    from ..inference.captioner import load

    captioner = load(config["checkpoint"], _device(config))
    _prepare(captioner, config)
    if config["list"] is None:
        if not Path(config["a"]).is_dir():
            return _caption_pair(captioner, jobs[0], out, form, figures, _search(config), raster)
        captioner.need_maps(config["sem_a"], config["sem_b"])
    options = {key: config[key] for key in ("batch", "workers")} | _search(config) | raster
    return _caption_files(captioner, jobs, out, form, figures=figures, **options)


def _caption_pair(
    captioner: "Captioner",
    job: "Job",
    out: Path | None,
    form: str,
    figure: Path | None,
    search: Mapping[str, Any],
    raster: Mapping[str, Any],
) -> int:
    from preprocess import Pair

    from ..data.file_pairs import writing
    from ..inference.batch import formatted, row_of
    from ..inference.figure import draw
    from ..io.atomic import write_whole

    assert job.a is not None  # of one pair they are what was asked for
    assert job.b is not None
    pair = captioner.read(job.a, job.b, job.sem_a, job.sem_b, **raster)
    caption = captioner.caption(Pair.stack([pair]), attend=figure is not None, **search)[0]
    if figure is not None:
        with writing(figure):
            draw(figure, pair, caption)
    row = row_of(job.id, caption)
    said = formatted([row], form) if form != "text" else _sentence(caption.text, row)
    if out is not None:
        with writing(out):
            write_whole(out, said)
    print(said, end="")
    return 0


def _caption_files(captioner: "Captioner", jobs: Sequence["Job"], out: Path | None, form: str, **options: Any) -> int:
    from tqdm import tqdm

    from ..inference.batch import caption_files, formatted

    def tell(row: Mapping[str, Any]) -> None:
        if out is None and form != "csv":
            tqdm.write(formatted([row], form), end="")

    way = f"the same call goes on from there, {out}.part keeps them" if out else "with out=FILE a call can go on"
    rows = _all_of(caption_files(captioner, jobs, out, form=form, **options), len(jobs), way, tell)
    if out is None and form == "csv":
        print(formatted(rows, form), end="")
    return _told(rows, "captioned", out)


def _all_of(
    rows: Iterable[Mapping[str, Any]],
    count: int,
    way: str,
    tell: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> list[Mapping[str, Any]]:
    """The rows of ``count`` pairs as they come; who stops them is told the ``way`` to go on."""
    done = []
    try:
        for row in rows:
            done.append(row)
            tell(row)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped after {len(done)} of {count} pairs; {way}") from None
    return done


def _told(rows: Sequence[Mapping[str, Any]], what: str, out: Path | None) -> int:
    """Say how many pairs were done, and what is wrong with the others; the exit status."""
    failed = [row for row in rows if row["error"] is not None]
    print(f"{len(rows) - len(failed)} of {len(rows)} pairs {what}" + (f": {out}" if out else ""), file=sys.stderr)
    for row in failed[:5]:
        print(f"  {row['id']}: {row['error']}", file=sys.stderr)
    if len(failed) > 5:
        print(f"  and {len(failed) - 5} more", file=sys.stderr)
    return 1 if failed else 0


def _prepare_pairs(config: Config, given: set[str]) -> int:
    jobs, raster = _jobs(config), _raster(config)
    out, figures = Path(config["out"]), config["figure"] and Path(config["figure"])
    if figures and figures.suffix == ".png" and len(jobs) > 1:
        raise UsageError(f"figure={figures} is one picture for {len(jobs)} pairs; give a folder")
    from tqdm import tqdm

    from ..inference.prepare import chain_of, in_short, prepare_files

    options = {"workers": config["workers"], "device": _device(config)} | raster
    rows = prepare_files(chain_of(config["steps"]), jobs, out, figures=figures, **options)
    way = f"the same call goes on from there, {out} keeps what is done"
    return _told(_all_of(rows, len(jobs), way, lambda row: tqdm.write(in_short(row))), "prepared", out)


def _sentence(text: str, row: Mapping[str, Any]) -> str:
    flag = "changed" if row["changed"] else "unchanged"
    words = "  ".join(f"{w['word']} {w['probability']:.2f}" for w in row["words"])
    others = "".join(f"or: {other['text']}  {other['log_probability']:.2f}\n" for other in row["others"])
    return f"{text}\nlog-probability {row['log_probability']:.2f} · {flag}\nwords: {words}\n{others}"


def _score(config: Config, given: set[str]) -> int:
    as_json = _form(config, "text", "json") == "json"
    from ..metrics import score_files

    _one_of(config, "units", "words", "ids")
    if (config["units"] == "ids") != (config["vocabulary"] is not None):
        raise UsageError("units=ids and vocabulary=FILE, the map of words to ids, belong together")
    if config["card"] and (others := sorted(given & {"documents", "units"})):
        raise UsageError(
            f"card=true scores words by the frequencies of their references; leave out {', '.join(others)}"
        )
    if config["training"] is not None and not config["card"]:
        raise UsageError("training=FILE is for the score card; add card=true")
    own = ("format", "units", "card", "training")
    files = {key: path and Path(path) for key, path in config.items() if key not in own}
    scores = score_files(**{**files, "out": None} if config["card"] else files)
    for note in scores["notes"]:
        print(f"note: {note}", file=sys.stderr)
    say = _carded(scores, files, config["training"]) if config["card"] else _scores
    print(json.dumps(scores, ensure_ascii=False) if as_json else say(scores))
    return 0


def _carded(scores: Config, files: Mapping[str, Path | None], training: str | None) -> Callable[[Config], str]:
    """Add the score card to ``scores`` and write both and the card's page; how to say them."""
    from ..evaluation.files import card_of_files
    from ..io.atomic import write_whole
    from ..io.json_file import to_json
    from ..reports.card_text import print_card

    sources = {key: files[key] for key in ("references", "hypotheses", "changed")}
    out = files["out"]
    page = out and out.with_suffix(".html")
    scores["card"] = card_of_files(**sources, training=training and Path(training), page=page)  # type: ignore[arg-type]
    where = ""
    if out is not None:
        write_whole(out, to_json(scores))
        where = f"\nscores: {out}\nreport: {page}"
    return lambda whole: print_card(whole["card"]) + where


def _scores(scores: Mapping[str, Any]) -> str:
    """Corpus values as a table, and why some are not there."""
    columns = {"all pairs": scores["corpus"], **scores["subsets"]}
    lines = [f"{'':18}" + "".join(f"{name.replace('_', '-'):>11}" for name in columns)]
    for metric in (*scores["corpus"], "CIDEr_full_df"):
        values = [(row or {}).get(metric) for row in columns.values()]
        if any(value is not None for value in values):
            lines.append(f"{metric:18}" + "".join(f"{'-':>11}" if v is None else f"{v:11.4f}" for v in values))
    absent = [name for name, value in scores["corpus"].items() if value is None]
    return "\n".join([*lines, *(f"{name} {scores['computed'][name]}" for name in absent)])


def _compare(config: Config, given: set[str]) -> int:
    from ..evaluation.comparison import compare
    from ..io.atomic import write_whole
    from ..reports.comparison_text import FORMATS

    form = _form(config, *FORMATS)
    said = FORMATS[form](compare([str(run) for run in config["runs"]], config["split"]))
    if config["out"] is not None:
        write_whole(Path(config["out"]), said)
    else:
        print(said, end="")
    return 0


def _ablate(config: Config, given: set[str]) -> int:
    severities = _numbers(config, "severities", config["severities"].count(",") + 1)
    shard = _shard(config)
    device = _device(config)
    from ..checkpoints.checkpoint import best_of, read_config
    from ..data import arguments, ensure
    from ..evaluation.comparison import paths_of
    from ..robustness import ablate
    from ..robustness.grid import grid_of

    words: Config = {key: config[key] for key in ("corruptions", "side", "seed")}
    words |= {"severities": severities, "variants": [variant.strip() for variant in config["variants"].split(",")]}
    grid_of(**words)  # what cannot be asked shows before anything is read
    folders = paths_of(config["checkpoint"])
    data = _data_of(config.get("data") or {}, read_config(best_of(folders[0])).get("data") or {}, given)
    ensure(data)
    said = {key: value for key, value in arguments(data).items() if key != "size" or "data.size" in given}
    options = {key: config[key] for key in ("pairs", "clean_pairs", "beams", "decode", "batch", "workers")}
    made = ablate(
        folders, {**said, "split": config["split"]}, config["out"], shard=shard, device=device, **words, **options
    )
    if made.missing:
        print(f"{made.missing} cells are left to other shards; the call that finishes the last one writes the report")
        return 0
    for sentence in made.said:
        print("\n".join(textwrap.wrap(sentence, 100, subsequent_indent="  ")))
    print(f"report: {made.page}")
    return 0


def _shard(config: Config) -> tuple[int, int]:
    """Which share of the work is done here: i of n."""
    found = re.fullmatch(r"(\d+)/(\d+)", config["shard"])
    shard = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"shard must be i/n with i from 1 to n, such as 1/4, got {config['shard']!r}")
    return shard


def _synth(config: Config, given: set[str]) -> int:
    from ..data.synthetic import write

    print(f"data set: {write(**config)}")
    return 0


def _augment(config: Config, given: set[str]) -> int:
    from ..data import ensure
    from ..data.augmented_copies import augment

    source = config["data"]
    ensure(source)
    options = {key: config[key] for key in ("recipe", "splits", "seed", "workers")}
    done = augment(Path(config["out"]), source["name"], Path(source["root"]), palette=source["palette"], **options)
    print(f"data set: {done.folder}, {done.pairs} pairs, {done.copies} of them copies")
    print(f"left out: {done.captions_left_out} captions that cannot be rewritten, {done.copies_left_out} copies")
    return 0


def _parity(config: Config, given: set[str]) -> int:
    as_json = _form(config, "text", "json") == "json"
    from ..evaluation import parity

    checks = parity.parity(Path(config["fixture"]), config["checkpoint"] and Path(config["checkpoint"]))
    print(parity.as_json(checks) if as_json else parity.table(checks))
    return 0 if all(check.ok for check in checks) else 1


def _of_heads(argument: str) -> bool:
    return argument.endswith("heads")


def _import(config: Config, given: set[str]) -> int:
    if "model" not in given:
        raise UsageError("import needs model=...; changecap import --help lists them")
    if others := sorted(key for key in given if key.startswith("model.") and not _of_heads(key)):
        raise UsageError(f"the checkpoint says what {', '.join(others)} is; only its head counts can be given")
    from ..checkpoints.importing import import_checkpoint, summary

    name = config["model"]["name"]
    heads = {key: value for key, value in config["model"].items() if key != "name"}
    source, words, out = (Path(config[key]) for key in ("checkpoint", "vocabulary", "out"))
    print(summary(import_checkpoint(name, source, words, out, heads)))
    print(f"checkpoint: {out}\nnext: changecap caption checkpoint={shlex.quote(str(out))} a=before.png b=after.png")
    return 0


def _doctor(config: Config, given: set[str]) -> int:
    as_json = _form(config, "text", "json") == "json"
    from ..data import doctor

    data = config["data"]
    raster = {key: data[key] for key in ("bands", "scale") if key in data}  # HDF5 has none
    options = {"workers": config["workers"], "progress": not as_json, **raster}
    health = doctor.examine(data["name"], Path(data["root"]), data["palette"], **options)
    print(doctor.as_json(health) if as_json else doctor.table(health))
    return 1 if health.errors else 0


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
    """Rows of a run's metrics."""
    from ..io.json_file import read_lines

    return list(read_lines(path)) if path.is_file() else None


def _search(config: Config) -> Config:
    """How sentences are searched for, as the captioner takes it."""
    import torch

    generator = torch.Generator().manual_seed(config["seed"])
    return {"beams": config["beams"], "decode": config["decode"], "generator": generator}


def _prepare(captioner: "Captioner", config: Config) -> None:
    """Let ``captioner`` preprocess as ``config`` says, if it says anything."""
    from ..data.augmentation import chains

    if config["preprocess"]["steps"] is not None:
        captioner.prepare = chains(config["preprocess"])[0]


def _device(config: Config) -> str:
    from ..training.settings import device_of

    return str(device_of(config["device"]))


def _jobs(config: Config) -> list["Job"]:
    """The pairs that a call names."""
    from ..data.file_pairs import jobs_of

    return jobs_of(*(config[key] and Path(config[key]) for key in ("a", "b", "sem_a", "sem_b", "list")))


def _raster(config: Config) -> Config:
    """How GeoTIFFs are read, in so far as it was said."""
    said = {key: config[key] for key in ("scale", "window", "bands") if config[key] is not None}
    return said | {key: _numbers(config, key, count) for key, count in {"window": 4, "bands": 3}.items() if key in said}


def _numbers(config: Config, key: str, count: int) -> tuple[int, ...]:
    """The whole numbers of a comma list."""
    try:
        numbers = tuple(int(part) for part in config[key].split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise UsageError(f"{key} must be {count} whole numbers with commas between, got {config[key]!r}")
    return numbers


def _form(config: Config, *known: str) -> str:
    return _one_of(config, "format", *known)


def _one_of(config: Config, key: str, *known: str) -> str:
    if config[key] not in known:
        raise UsageError(f"{key} must be {' or '.join(known)}, got {config[key]!r}")
    return str(config[key])


VERBS = {
    "train": Verb(
        (
            "changecap train experiment=demo",
            "changecap train -m experiment=demo inputs=rgb,both seed=0,1,2",
            "changecap train data=second_cc data.root=SECOND-CC-AUG model.dropout=0.2",
        ),
        _train,
    ),
    "evaluate": Verb(
        ("changecap evaluate checkpoint=runs/demo", "changecap evaluate checkpoint=runs/demo split=val beams=3"),
        _evaluate,
    ),
    "caption": Verb(
        (
            "changecap caption checkpoint=runs/demo a=before.png b=after.png sem_a=map_a.png sem_b=map_b.png",
            "changecap caption checkpoint=runs/rgb a=before/ b=after/ out=captions.csv format=csv",
            "changecap caption checkpoint=runs/rgb a=before.tif b=after.tif window=9000,4000,256,256 figure=where.png",
            "changecap caption checkpoint=runs/rgb a=before.png b=after.png beams=5 decode.num_return_sequences=3",
        ),
        _caption,
    ),
    "score": Verb(
        (
            "changecap score references=references.json hypotheses=hypotheses.json",
            "changecap score references=references.json hypotheses=hypotheses.json card=true out=scores.json",
        ),
        _score,
    ),
    "compare": Verb(
        (
            "changecap compare runs/rgb runs/both",
            "changecap compare runs/rgb-0,runs/rgb-1,runs/rgb-2 runs/both-0,runs/both-1,runs/both-2 format=latex",
        ),
        _compare,
        plain="runs",
    ),
    "ablate": Verb(
        (
            "changecap ablate checkpoint=runs/a,runs/b",
            "changecap ablate checkpoint=runs/a corruptions=geometry,gamma severities=3 pairs=50",
            "changecap ablate checkpoint=runs/a,runs/b out=shared/ablation shard=2/4",
        ),
        _ablate,
    ),
    "synth": Verb(("changecap synth out=data/synth256 pairs=1000 size=256",), _synth),
    "prepare": Verb(
        (
            "changecap prepare a=before.tif b=after.tif out=aligned figure=aligned.png",
            "changecap prepare a=before/ b=after/ out=aligned steps=[register,illuminate]",
        ),
        _prepare_pairs,
    ),
    "augment": Verb(("changecap augment data=second_cc data.root=SECOND-CC out=data/augmented",), _augment),
    "parity": Verb(
        (
            "changecap parity fixture=tests/golden/mmodalcc/public",
            "changecap parity fixture=tests/golden/chg2cap/public checkpoint=models/chg2cap",
        ),
        _parity,
    ),
    "import": Verb(
        (
            "changecap import model=chg2cap checkpoint=LEVIR_CC_batchsize_32_resnet101.pth vocabulary=vocab.json "
            "out=models/chg2cap",
        ),
        _import,
        _of_heads,
    ),
    "doctor": Verb(
        (
            "changecap doctor data=levir_cc data.root=LEVIR-CC",
            "changecap doctor data=folder data.root=my_pairs format=json",
        ),
        _doctor,
    ),
}
