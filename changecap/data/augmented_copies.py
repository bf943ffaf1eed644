"""A data set with the copies that a recipe of augmentations adds, written in SECOND-CC's layout.

A copy is a function of the seed and its pair's name. It grows in a folder beside ``out``, where an interrupted call
goes on, and takes its name when it is whole.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from preprocess import Pair
from preprocess import second_cc_augmentation as second_cc

from .. import data
from ..errors import ConfigError, DataError
from ..io.atomic import write_whole
from ..io.images import save
from ..io.json_file import read_json
from ..language.directions import turn_fact
from .augmentation import follow, turn_of
from .dataset import PairDataset
from .formats.second_cc import CAPTIONS

RECIPES = ("second_cc",)
_PLAN = "AUGMENT.json"
_FOLDERS = ("rgb/A", "rgb/B", "sem/A", "sem/B")


class Written(NamedTuple):
    """What :func:`augment` did: pairs in all, copies among them, and what could not be rewritten."""

    folder: Path
    pairs: int
    copies: int
    captions_left_out: int
    copies_left_out: int


def augment(
    out: Path,
    name: str,
    root: Path,
    recipe: str = "second_cc",
    splits: Sequence[str] = ("train",),
    seed: int = 42,
    palette: str = "strict",
    workers: int = 2,
    progress: bool = True,
) -> Written:
    """Write the data set ``name`` in ``root`` to ``out``, its ``splits`` with a copy of each pair by each variant.

    Images, maps, captions and facts of a copy are turned together; a caption that cannot be rewritten is left out, and
    so is a copy that would have none. The other splits are written as they are.

    Raises:
        ConfigError: the recipe or a split is not known.
        DataError: ``out`` is taken, its unfinished folder is of another call, or files cannot be read or written.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"unknown recipe {recipe!r}, expected one of: {', '.join(RECIPES)}")
    reader = data.reader(name)
    known = reader.splits(root)
    if strange := [split for split in splits if split not in known]:
        raise ConfigError(f"splits: {strange[0]!r} is none of those in {root}: {', '.join(known)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; remove it, or give another out=")
    part = out.with_name(f".{out.name}.part")
    asked = {"recipe": recipe, "source": str(root.resolve()), "splits": list(splits), "seed": seed, "palette": palette}
    try:
        part.mkdir(parents=True, exist_ok=True)
        if (part / _PLAN).is_file() and (found := read_json(part / _PLAN)) != asked:
            raise DataError(f"{part} was begun as {found}, and {asked} is asked for; remove it, or ask for the same")
        write_whole(part / _PLAN, json.dumps(asked))
        entries: list[dict[str, Any]] = []
        left_out = [0, 0]
        for split in known:
            examples = reader.read(root, split, None)
            maps = all(e.sem_a is not None and e.sem_b is not None for e in examples)
            dataset = PairDataset(examples, split, None, maps, palette)
            for folder in _FOLDERS[: 4 if maps else 2]:
                (part / split / folder).mkdir(parents=True, exist_ok=True)
            variants = ("none", *second_cc.VARIANTS) if split in splits else ("none",)
            with ThreadPoolExecutor(workers) as pool:
                made = pool.map(
                    lambda i, s=dataset, v=variants: list(_copies(s, i, v, part, seed)), range(len(examples))
                )
                for example, found in zip(
                    examples, tqdm(made, split, len(examples), disable=not progress), strict=True
                ):
                    entries += found
                    left_out[0] += len(example.captions) * len(found) - sum(len(e["sentences"]) for e in found)
                    left_out[1] += len(variants) - len(found)
        _number(entries)
        write_whole(part / CAPTIONS, json.dumps({"dataset": f"{name}-{recipe}", "images": entries}))
        if out.is_dir():
            out.rmdir()
        part.replace(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}; the same call goes on from there once it can") from error
    copies = sum("variant" in entry for entry in entries)
    return Written(out, len(entries), copies, *left_out)


def _copies(
    dataset: PairDataset, index: int, variants: Sequence[str], part: Path, seed: int
) -> Iterator[dict[str, Any]]:
    """Write the copies of a pair that are not there yet; yields the entry of each in the caption file."""
    example = dataset.examples[index]
    stem = example.id.removesuffix(".png").replace("/", "_")
    pair: Pair | None = None
    for variant in variants:
        plan = second_cc.plan([variant], _numbers(f"{seed}\n{dataset.split}\n{example.id}\n{variant}"))
        turn = turn_of(plan.turn[0].tolist())
        captions = follow(example.captions, turn)
        if not captions:
            continue
        name = f"{stem}.png" if variant == "none" else f"{stem}_{variant}.png"
        paths = [part / dataset.split / folder / name for folder in _FOLDERS[: 4 if dataset.maps else 2]]
        if not all(path.is_file() for path in paths):
            pair = dataset[index] if pair is None else pair
            there = second_cc.apply(pair.unsqueeze(), plan)
            for path, x in zip(paths, there, strict=False):
                if x is not None:
                    save(path, x[0])
        entry: dict[str, Any] = {"split": dataset.split, "filename": name}
        if variant != "none":
            entry["variant"] = variant
        if example.changed is not None:
            entry["changeflag"] = int(example.changed)
        if example.facts is not None:
            entry["facts"] = [turn_fact(fact, turn).to_json() for fact in example.facts]
        yield entry | {"sentences": [{"raw": caption, "tokens": caption.split()} for caption in captions]}


def _numbers(text: str) -> Tensor:
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1)
    return torch.rand(1, second_cc.DRAWS, generator=generator, dtype=torch.float64)


def _number(entries: list[dict[str, Any]]) -> None:
    """Give pairs and sentences their running numbers, as Karpathy's files do."""
    sentid = 0
    for imgid, entry in enumerate(entries):
        entry["imgid"] = imgid
        entry["sentids"] = list(range(sentid, sentid + len(entry["sentences"])))
        for sentence in entry["sentences"]:
            sentence |= {"imgid": imgid, "sentid": sentid}
            sentid += 1
