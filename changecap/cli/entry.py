"""The command line: ``changecap VERB key=value ...``.

``configs/VERB.yaml`` is the face of a verb: its keys, defaults and, in the comments, its help. Hydra composes them with
the chosen groups; the values of the command line are set afterwards, so no file name ever meets Hydra's grammar. This
is the only file that knows Hydra.
"""

import inspect
import json
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import UsageError, UserError
from ..inference.decoding import Decoding
from .verbs import VERBS, Config

MISSING = "???"

# What a key takes whose default is null; all others take what their default is.
_NULLABLE: dict[str, type] = {
    **dict.fromkeys(
        ("out", "resume", "a", "b", "sem_a", "sem_b", "list", "figure", "window", "changed", "checkpoint"), str
    ),
    "preprocess.steps": list,
    **dict.fromkeys(("bands", "scale", "data.scale", "documents", "vocabulary", "training"), str),
    **dict.fromkeys(("steps", "validate_every", "limit", "val", "test", "workers"), int),
}
_ELSEWHERE = ("self", "vocab", "inputs", "backbone", "image_size", "in_chans", "channels", "beams")  # set by other keys
_LEAST = {  # by the last part of the key
    "seed": 0,
    "clean_pairs": 1,
    **dict.fromkeys(
        (
            "steps",
            "epochs",
            "batch",
            "beams",
            "limit",
            "pairs",
            "clean_pairs",
            "validate_every",
            "workers",
            "min_count",
            "size",
        ),
        1,
    ),
}
_SWEEP = ("-m", "--multirun")
_OPTIONS = ("--help", "-h", "--version", "--debug", *_SWEEP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` and return its exit status.

    0: done; 1: it failed; 2: the command line is wrong; 130: interrupted. Only ``--debug`` shows a traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    logger, handler = logging.getLogger("changecap"), logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        status = _attempt(lambda: _main([a for a in arguments if a != "--debug"], debug), debug)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted", 130, debug)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does; the interpreter flushes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        logger.removeHandler(handler)


def _attempt(run: Callable[[], int], debug: bool) -> int:
    """The exit status of ``run``; an error is told, and is one too."""
    try:
        return run()
    except UserError as error:
        return _fail(f"error: {error}", 2 if isinstance(error, UsageError) else 1, debug)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"error: {error}", 1, debug)
    except Exception as error:
        hint = "" if debug else " (a fault of changecap's: run again with --debug, and report what it shows)"
        return _fail(f"error: {type(error).__name__}: {error}{hint}", 1, debug)


def _main(arguments: list[str], debug: bool) -> int:
    if not arguments or arguments[0] in ("--help", "-h"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        from .. import __version__

        print(f"changecap {__version__}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        raise UsageError(f"unknown verb {name!r}{_nearest(name, VERBS)} The verbs: {', '.join(VERBS)}")
    if "--help" in rest or "-h" in rest:
        print(_help(name))
        return 0
    plain = [argument for argument in rest if argument not in _SWEEP]
    if len(plain) < len(rest):
        return _sweep(name, plain, debug)
    words, rest = _words(name, rest)
    config, given = _configure(name, _split(name, rest))
    if words and (key := VERBS[name].plain):
        if key in given:
            raise UsageError(f"{key} is given twice: as {key}=... and as plain arguments")
        config[key] = words
    return VERBS[name].run(config, given)


def _sweep(verb: str, arguments: Sequence[str], debug: bool) -> int:
    """One run of ``verb`` per combination of values; all are checked before the first is run."""
    from .sweep import combinations, run_all

    given = _split(verb, arguments)
    if verb != "train" or "resume" in given:
        raise UsageError("-m makes several runs of train; leave it out" + " to resume one" * (verb == "train"))
    runs = []
    for name, combination in combinations(given):
        config, _ = _configure(verb, combination)
        runs.append((name, {**config, "out": str(Path(config["out"]) / name)}))
    return run_all(runs, lambda config: _attempt(lambda: VERBS[verb].run(dict(config), set(given)), debug))


def _fail(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"changecap: {message}", file=sys.stderr)
    return status


# From arguments to a configuration


def _configure(verb: str, given: Mapping[str, str]) -> tuple[Config, set[str]]:
    """The resolved configuration of ``verb`` where ``given`` keys have values as written, and those keys.

    Raises:
        UsageError: a key, choice or value is wrong; a key without default is missing.
    """
    from omegaconf import OmegaConf

    groups = _groups(verb)
    choices = {}
    for group in groups.keys() & given:
        choices[group] = given[group]
        if given[group] not in (options := _options(group)):
            near = _nearest(given[group], options)
            raise UsageError(f"unknown {group} {given[group]!r}{near} The options: {', '.join(options)}")
    config = _compose(verb, choices)
    values = {key: text for key, text in given.items() if key not in groups}
    if "model.name" in values:  # decides which other keys there are
        config["model"]["name"] = values["model.name"]
    kinds = _kinds(config, groups)
    for key, text in values.items():
        if (kind := _kind_of(key, kinds)) is None:
            raise UsageError(f"unknown key {key!r}{_nearest_key(key, [*kinds, *groups])} See changecap {verb} --help")
        _set(config, key, _parse(key, text, kind))
    resolved = _plain(OmegaConf.create(config), resolve=True)
    if missing := [key for key, value in _leaves(resolved) if value == MISSING]:
        raise UsageError(f"{verb} needs {', '.join(f'{key}=...' for key in missing)}; {_example(verb)}")
    return resolved, set(given)


def _words(verb: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments without a key, where the verb takes any, and the others; a path may have ``=`` in a folder's name."""

    def plain(argument: str) -> bool:
        key, equals, _ = argument.partition("=")
        return not argument.startswith("-") and (not equals or os.sep in key)

    if VERBS[verb].plain is None:
        return [], list(arguments)
    return [a for a in arguments if plain(a)], [a for a in arguments if not plain(a)]


def _split(verb: str, arguments: Sequence[str]) -> dict[str, str]:
    """Arguments as key and value, both as they were written.

    Raises:
        UsageError: one is no ``key=value``, or a key is given twice.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key.startswith("-"):
            plain = key.lstrip("-")
            way = f"Settings are written {plain}={value or 'VALUE'}"
            raise UsageError(f"unknown option {key!r}{_nearest(key, _OPTIONS)} {way}")
        if not equals or not key:
            raise UsageError(f"expected key=value, got {argument!r}; {_example(verb)}")
        if key in given:
            raise UsageError(f"{key} is given twice: {given[key]!r} and {value!r}")
        given[key] = value
    return given


def _compose(verb: str, choices: Mapping[str, str]) -> Config:
    """``configs/VERB.yaml`` with its groups, interpolations still in place."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("changecap.configs", version_base="1.3"):
        return _plain(compose(verb, overrides=[f"{group}={choice}" for group, choice in choices.items()]))


def _plain(config: Any, resolve: bool = False) -> Config:
    """An OmegaConf configuration as a dict."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


@dataclass(frozen=True)
class _Kind:
    """Which values a key takes; a free one takes any."""

    types: frozenset[type]
    null: bool = False
    free: bool = False

    def __str__(self) -> str:
        names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        shown = [names[t] for t in names if t in self.types] + ["[a, list]"] * (list in self.types)
        return " or ".join(shown + ["{a: mapping}"] * (dict in self.types) + ["null"] * self.null)


_FREE = _Kind(frozenset(), True, True)


def _kinds(config: Config, groups: Mapping[str, str | None]) -> dict[str, _Kind]:
    """Every key that can be given, and what it takes."""
    kinds = {}
    for key, value in _leaves(config):
        if value is None and key in _NULLABLE:
            kinds[key] = _Kind(frozenset({_NULLABLE[key]}), True)
        else:
            kinds[key] = _Kind(frozenset({type(value)}))
    if "data" in groups and "data" not in config:  # open until the checkpoint says it
        for option in _options("data"):
            kinds |= _kinds({"data": _read("data", option)}, {})
    if "backbone" in config:
        from zoo.layers.backbone import Backbone

        kinds |= _signature(Backbone, "backbone")
        kinds["backbone.weights"] = _Kind(frozenset({str}))
    if "decode" in config:
        del kinds["decode"]  # an empty mapping, below which any key would do
        kinds |= _signature(Decoding, "decode")
    if "model" in config:
        import zoo

        try:
            kinds |= _signature(zoo.model_class(config["model"]["name"]), "model")
        except ValueError as error:
            raise UsageError(str(error)) from None
        kinds["model.name"] = _Kind(frozenset({str}))
    return kinds


def _signature(cls: type, prefix: str) -> dict[str, _Kind]:
    """What the constructor of ``cls`` takes, less what other keys set."""
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    return {f"{prefix}.{name}": _kind(hint) for name, hint in hints.items() if name not in (*_ELSEWHERE, "return")}


def _kind(hint: Any) -> _Kind:
    """The kind of value that an annotation describes."""
    types = set()
    for part in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        plain = get_origin(part) or part
        if plain in (str, int, float, bool, NoneType):
            types.add(plain)
        elif isinstance(plain, type) and issubclass(plain, Mapping | Sequence):
            types.add(dict if issubclass(plain, Mapping) else list)
        else:
            return _FREE
    return _Kind(frozenset(types - {NoneType}), NoneType in types)


def _kind_of(key: str, kinds: Mapping[str, _Kind]) -> _Kind | None:
    """The kind of ``key``; below a mapping every key is free."""
    if key in kinds:
        return kinds[key]
    parents = (key.rsplit(".", n)[0] for n in range(1, key.count(".") + 1))
    return _FREE if any(dict in kinds[parent].types for parent in parents if parent in kinds) else None


def _parse(key: str, text: str, kind: _Kind) -> Any:
    """The value that ``text`` means for a key of this kind.

    Raises:
        UsageError: it means none, or a number below what makes sense.
    """
    if kind.free:
        return _guess(text)
    if kind.null and text == "null":
        return None
    if bool in kind.types and text in ("true", "false"):
        return text == "true"
    if kind.types & {int, float} and (number := _number(text, float in kind.types)) is not None:
        if number < (least := _LEAST.get(key.rsplit(".", 1)[-1], -math.inf)):
            raise UsageError(f"{key} must be at least {least}, got {text}")
        return number
    if kind.types & {list, dict} and type(value := _guess(text)) in kind.types:
        return value
    if str in kind.types and text:
        return _literal(text)
    raise UsageError(f"{key} must be {kind}, got {text!r}")


def _number(text: str, fraction: bool) -> int | float | None:
    """The finite number that ``text`` states, if it does; a whole one (``1e4`` is) unless ``fraction``."""
    try:
        number = float(text)
    except ValueError:
        return None
    if fraction:
        return number if math.isfinite(number) else None
    if not number.is_integer():
        return None
    return int(number) if re.search("[.eE]", text) else int(text)  # a seed may be too long for a float


def _guess(text: str) -> Any:
    """A number, truth value, null, list or mapping where ``text`` is YAML for one, else ``text``."""
    from omegaconf import OmegaConf

    try:
        value = _plain(OmegaConf.create(f"value: {text}"))["value"]
    except Exception:  # YAML's errors are of many kinds, and all mean that it is plain text
        return _literal(text)
    return _literal(text) if isinstance(value, str) else _escaped(value)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return _literal(value) if isinstance(value, str) else value


def _literal(text: str) -> str:
    """``text`` such that OmegaConf finds no interpolation in it."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested configuration."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set(config: Config, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(config.get(parent), dict):
            config[parent] = {}
        config = config[parent]
    config[last] = value


# Help, made of the YAML files


def _overview() -> str:
    lines = [
        "changecap says in a sentence what changed between two images of one place.",
        "",
        "usage: changecap VERB key=value ...",
        "",
    ]
    for name, verb in VERBS.items():
        lines += [f"  {name:9} {_summary(name)}", f"            {verb.examples[0]}"]
    lines += [
        "",
        "changecap VERB --help    its keys and their defaults",
        "changecap --version      the version",
        "--debug                  with any verb: show the traceback of an error",
        "-m                       with train: a run for each of the values between commas, all in folders below out",
    ]
    return "\n".join(lines)


def _help(verb: str) -> str:
    lines = [f"changecap {verb}: {_summary(verb)}", "", *(f"  {example}" for example in VERBS[verb].examples), ""]
    face = _text(f"{verb}.yaml")
    rows = _described(face)
    for group, default in _groups(verb).items():
        comment = re.search(rf"- {group}: \w+  # (.*)", face)
        rows.append((f"{group}=", "", comment[1] if comment else ""))
        for option in _options(group):
            mark = "  (default)" if option == default else ""
            rows.append((f"  {group}={option}", "", _summary(group, option) + mark))
            rows += _described(_text(group, f"{option}.yaml"), f"    {group}.") if group == "data" else []
    width = max(len(key) for key, _, _ in rows)
    room = max(len(value) for _, value, _ in rows)
    lines += [f"  {key:{width}}  {value:{room}}  {comment}".rstrip() for key, value, comment in rows]
    if "model" in _groups(verb):
        import zoo

        for option in _options("model"):
            taken = _taken(zoo.model_class(option), VERBS[verb].settles)
            lines += ["", f"model={option} takes model.KEY=VALUE for: {taken}"]
    if "decode" in _read(verb):
        lines += ["", f"The search takes decode.KEY=VALUE for: {_taken(Decoding)}"]
    return "\n".join(lines)


def _taken(cls: type, settles: Callable[[str], bool] = lambda argument: True) -> str:
    """Of what the constructor of ``cls`` takes, with its defaults, that which the verb ``settles``."""
    parameters = inspect.signature(cls).parameters.values()
    free = [p for p in parameters if p.name not in _ELSEWHERE and settles(p.name)]
    return ", ".join(f"{p.name}={json.dumps(p.default)}" for p in free)


def _described(text: str, prefix: str = "") -> list[tuple[str, str, str]]:
    """Key, default and comment of each line of a YAML file; a section's keys are dotted."""
    rows, section = [], ""
    for line in text.splitlines():
        if found := re.fullmatch(r"( *)(\w+): *(.*?)(?:  # (.*))?", line):
            indent, key, value, comment = found.groups()
            if not indent:
                section = f"{key}." if not value else ""
            if value:
                shown = {MISSING: "(required)"}.get(value, value.strip('"'))
                rows.append((f"{prefix}{section if indent else ''}{key}", shown, comment or ""))
    return rows


def _summary(*path: str) -> str:
    """The first comment of a YAML file that is not an instruction to Hydra."""
    *folders, name = path
    return next(x[2:] for x in _text(*folders, f"{name}.yaml").splitlines() if re.match(r"# (?!@)", x))


def _text(*path: str) -> str:
    return files("changecap.configs").joinpath(*path).read_text(encoding="utf-8")


def _read(*path: str) -> Config:
    from omegaconf import OmegaConf

    *folders, name = path
    return _plain(OmegaConf.create(_text(*folders, f"{name}.yaml")))


def _groups(verb: str) -> dict[str, str | None]:
    """Groups of ``verb`` and the option each has by default."""
    chosen = [entry for entry in _read(verb).get("defaults", []) if isinstance(entry, dict)]
    return {group: option for entry in chosen for group, option in entry.items()}


def _options(group: str) -> list[str]:
    folder = files("changecap.configs").joinpath(group)
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def _example(verb: str) -> str:
    return f"for example: {VERBS[verb].examples[0]}"


def _nearest(word: str, known: "Sequence[str] | Mapping[str, Any]") -> str:
    near = get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else "."


def _nearest_key(key: str, known: Sequence[str]) -> str:
    """The key meant by ``key``: the same name in another section, or the nearest in spelling."""
    name = key.rsplit(".", 1)[-1]
    same = [other for other in known if other.rsplit(".", 1)[-1] == name]
    return f", did you mean {same[0]!r}?" if same else _nearest(key, known)
