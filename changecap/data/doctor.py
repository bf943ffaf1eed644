"""Look a data set over before anything is trained on it: files, captions, repetitions and contradictions.

Reports all that is wrong, not only the first of it. Knows what data sets hold, no models.
"""

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .. import landcover
from ..errors import DataError
from ..io.bands import RGB, Bands, Scale, bands_of, limits_of
from ..io.json_file import read_json
from ..io.sources import Source
from ..language.no_change import says_no_change
from ..language.vocabulary import tokenise
from . import Example, reader
from .dataset import read_image, read_rgb, read_together, together
from .formats import karpathy
from .formats.folder import sentences

# kind -> level and what it means; errors stop a training, warnings spoil it
KINDS = {
    "captions": ("error", "caption files that are missing, broken or do not fit the pairs"),
    "names": ("error", "names that do not tell pairs apart"),
    "missing": ("error", "files that are not there"),
    "unreadable": ("error", "files that are no images"),
    "size": ("error", "pairs of several sizes, or of no common place"),
    "palette": ("error", "colours that are not on the palette"),
    "blank": ("warning", "images of a single colour"),
    "same": ("warning", "pairs that are there twice, pixel by pixel"),
    "alike": ("warning", "pairs in several splits that look the same"),
    "flag": ("warning", "flags, maps and captions that contradict each other"),
    "long": ("warning", "captions so long that they may be none"),
    "words": ("warning", "captions that training would cut into other words"),
    "unlisted": ("warning", "images that no caption file lists"),
}
LONG = 100  # words; the longest captions published have about 50
CLOSE = 2  # bits of 128 in which two pairs that look the same may differ
SHOWN = 5  # findings of a kind in the table


@dataclass(frozen=True)
class Finding:
    """Something wrong in ``split`` (``None``: in no one split)."""

    level: str
    kind: str
    split: str | None
    message: str


@dataclass
class Health:
    """What :func:`examine` found; ``splits`` holds the statistics of each split and, as ``all``, of them together."""

    format: str
    root: str
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    no_change_sentences: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(f.level == "error" for f in self.findings)


@dataclass
class _Look:
    """What the pixels of one pair say."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    size: tuple[int, int] | None = None  # width, height of the first image
    digest: bytes | None = None  # of both images' pixels
    look: int | None = None  # 128 bits, near for images that look alike; None where one is a single colour
    same: bool = False  # both images are one
    mapped: bool | None = None  # whether the maps differ
    masked: bool | None = None  # whether the mask marks anything


def examine(
    name: str,
    root: Path,
    mode: str = "strict",
    workers: int = 2,
    progress: bool = False,
    bands: Bands = RGB,
    scale: Scale = None,
) -> Health:
    """Examine the data set of format ``name`` in ``root``, or the caption file ``root`` alone.

    Args:
        name: the format, of ``data.READERS``; a caption file says its own.
        root: a folder, or a JSON file of captions.
        mode: ``"strict"``: a colour off the palette is an error; ``"nearest"``: a warning.
        workers: threads that decode images.
        progress: show a bar.
        bands: of GeoTIFFs, those that are red, green and blue; see :class:`changecap.io.geotiff.Scene`.
        scale: of GeoTIFFs, the numbers that become 0 and 255.

    Raises:
        ConfigError: the format is not known.
        DataError: ``bands`` or ``scale`` cannot be understood.
    """
    if scale is not None:
        limits_of(scale)
    look = partial(_look, bands=bands_of(bands), scale=scale)
    read_with, alone = reader(name), os.path.isfile(root)
    health = Health("captions" if alone else name, str(root))
    noted = _Notes(health, mode)
    splits: dict[str, list[Example]] = {}
    try:
        if alone:
            splits = read_captions(root, noted)
        else:
            for split in read_with.splits(root):
                noted.split = split
                try:
                    splits[split] = read_with.read(root, split, None, noted)
                except (DataError, OSError) as error:
                    noted("captions", str(error))
    except (DataError, OSError) as error:
        noted("captions", str(error))
    _captions(health, splits, noted)
    if not alone:
        _images(health, splits, noted, look, workers, progress)
    if len(splits) > 1:
        health.splits["all"] = _together(health.splits, splits)
    order = list(KINDS)
    health.findings.sort(key=lambda f: order.index(f.kind))
    return health


def read_captions(file: Path, report: "_Notes") -> dict[str, list[Example]]:
    """The captions of a file alone, by split.

    Karpathy's ``images[]`` are cut into words as in training. Plain lists of sentences by name, perhaps under the key
    ``captions``, count as cut already: words are what blanks part. Their split is what the name begins with
    (``train_000001``), or ``other`` where it begins with none.

    Raises:
        DataError: the file is empty, broken or of another structure.
    """
    content = read_json(file)
    if isinstance(content, Mapping) and "images" in content:
        names = karpathy.splits(file, "Karpathy")
        return {split: karpathy.read(file, split, "Karpathy", None, report) for split in names}
    if isinstance(content, Mapping) and isinstance(content.get("captions"), Mapping | list):
        content = content["captions"]
    splits: dict[str, list[Example]] = defaultdict(list)
    for name, said in sentences(content, file).items():
        begins = re.match("(train|val|test)(?![a-z])", name)
        split = begins[1] if begins else "other"
        captions = tuple(" ".join(s.lower().split()) for s in said)
        report.split = split
        if not captions or not all(captions):
            report("captions", f"{file}: {name} has no caption, or an empty one")
        splits[split].append(Example(name, Path(name), Path(name), None, None, tuple(filter(None, captions)), None))
    return {split: splits[split] for split in ("train", "val", "test", "other") if split in splits}


class _Notes:
    """A reader's report that notes each problem once, as one of the present split."""

    def __init__(self, health: Health, mode: str) -> None:
        self.findings, self.mode = health.findings, mode
        self.split: str | None = None
        self._known: set[tuple[str, str]] = set()

    def __call__(self, kind: str, message: str) -> None:
        level = "warning" if kind == "palette" and self.mode == "nearest" else KINDS[kind][0]
        if (kind, message) not in self._known:
            self._known.add((kind, message))
            self.findings.append(Finding(level, kind, self.split, message))


# Captions


def _captions(health: Health, splits: Mapping[str, Sequence[Example]], noted: _Notes) -> None:
    """Statistics of all captions, and what is strange in them."""
    known = _words(splits["train"]) if "train" in splits else None
    said_of_none: Counter[str] = Counter()
    for split, examples in splits.items():
        noted.split = split
        health.splits[split] = _statistics(examples, None if split == "train" else known)
        said_of_none.update(s for e in examples for s in e.captions if says_no_change(s))
        for e in examples:
            for caption in e.captions:
                if (length := len(caption.split())) > LONG:
                    noted("long", f"{e.id} has a caption of {length} words: {caption[:60]} ...")
                if (words := " ".join(tokenise(caption))) != caption:
                    noted("words", f"{e.id}: {_excerpt(caption)!r} would be {_excerpt(words)!r}")
            for message in _contradictions(e):
                noted("flag", message)
    health.no_change_sentences = dict(said_of_none.most_common())


def _excerpt(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]} ..."


def _words(examples: Iterable[Example]) -> Counter[str]:
    return Counter(word for e in examples for caption in e.captions for word in caption.split())


def _statistics(examples: Sequence[Example], known: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Counts of pairs, captions and words; shares are of 1."""
    captions = [caption for e in examples for caption in e.captions]
    words = _words(examples)
    total = sum(words.values())
    flags = [e.changed for e in examples]
    silent = [[says_no_change(s) for s in e.captions] for e in examples]
    unchanged = sum(bool(s) and all(s) for s in silent)
    return {
        "pairs": len(examples),
        "captions": len(captions),
        "captions_per_pair": _spread([len(e.captions) for e in examples]),
        "distinct_captions": len(set(captions)),
        "words_per_caption": _spread([len(caption.split()) for caption in captions]),
        "words": total,
        "vocabulary": len(words),
        "words_seen_once": sum(n == 1 for n in words.values()),
        "unknown_words": sum(n for w, n in words.items() if w not in known) / total if known and total else None,
        "flagged_unchanged": None if all(f is None for f in flags) else flags.count(False),
        "no_change_pairs": unchanged,
        "no_change_share": unchanged / len(examples) if examples else 0.0,
    }


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "min": min(values),
        "mean": fmean(values),
        "median": median(values),
        "max": max(values),
        "sd": pstdev(values),
    }


def _contradictions(e: Example) -> Iterator[str]:
    """What the captions of a pair say against its flag, or each other."""
    silent = [says_no_change(s) for s in e.captions]
    if any(silent) and e.changed:
        yield f"{e.id} is flagged as changed, but captioned {e.captions[silent.index(True)]!r}"
    elif not all(silent) and e.changed is False:
        yield f"{e.id} is flagged as unchanged, but captioned {_excerpt(e.captions[silent.index(False)])!r}"
    elif any(silent) and not all(silent):
        yield f"{e.id} has captions of a change, and {e.captions[silent.index(True)]!r}"


# Images


def _images(
    health: Health,
    splits: Mapping[str, Sequence[Example]],
    noted: _Notes,
    look_at: Callable[[Example], _Look],
    workers: int,
    progress: bool,
) -> None:
    """Decode every file, and note what is wrong with it, or with a pair."""
    every = [(split, e) for split, examples in splits.items() for e in examples]
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(look_at, [e for _, e in every])
        looks = list(tqdm(found, total=len(every), desc="decoding", unit="pair", disable=not progress))
    sizes: dict[str, Counter[str]] = {split: Counter() for split in splits}
    for (split, e), look in zip(every, looks, strict=True):
        noted.split = split
        for kind, message in look.problems:
            noted(kind, message)
        if look.size:
            sizes[split]["{} x {}".format(*look.size)] += 1
        for what, changed in (("maps show", look.mapped), ("mask shows", look.masked)):
            if None not in (e.changed, changed) and e.changed != changed:
                states = ("changed" if e.changed else "unchanged", "some" if changed else "no")
                noted("flag", f"{e.id} is flagged as {states[0]}, but its {what} {states[1]} change")
        if look.same and (e.changed or (e.captions and not any(map(says_no_change, e.captions)))):
            noted("flag", f"{e.id} is said to be changed, but both its images are the same, pixel by pixel")
    listed = {path for _, e in every for _, path in e.files()}
    legible = not any(f.kind == "captions" for f in health.findings)  # else more may be listed than could be read
    for split, examples in splits.items():
        noted.split = split
        for message in _unlisted(examples, listed) if legible else ():
            noted("unlisted", message)
        health.splits[split]["sizes"] = dict(sizes[split].most_common())
    _repetitions(health, every, looks, noted)


def _look(e: Example, bands: Bands, scale: Scale) -> _Look:
    """Decode the files of a pair that are there; nothing that is wrong with one keeps the others from being read."""
    look = _Look()
    read: dict[Source, np.ndarray] = {}  # RGB (H, W, 3)
    for kind, path in e.files():
        if isinstance(path, Path) and not os.path.isfile(path):
            continue  # the reader has noted it
        try:
            read[path] = _pixels(read_image(path, bands, scale)) if kind == "image" else read_rgb(path, kind)
        except DataError as error:
            look.problems.append(("unreadable", str(error)))
        except MemoryError:
            look.problems.append(("unreadable", f"{path} is too large for the memory"))
    _look_at_colours(look, e, read)
    try:
        read |= _on_one_grid(e, read, bands, scale)
        _compare_sizes(look, read)
    except DataError as error:
        look.problems.append(("size", str(error)))
    _look_at_images(look, e, read)
    _look_at_maps(look, e, read)
    if e.mask is not None:
        try:
            look.masked = bool(read_rgb(e.mask, "image").any())
        except DataError as error:
            look.problems.append(("unreadable", str(error)))
    return look


def _on_one_grid(e: Example, read: Mapping[Source, np.ndarray], bands: Bands, scale: Scale) -> dict[Source, np.ndarray]:
    """What training sees of a pair's GeoTIFFs, which may lie on several grids.

    Raises:
        DataError: they share no place.
    """
    paths = together([path for _, path in e.files()])
    if not paths or any(path not in read for path in paths):
        return {}
    pair = read_together(paths, bands, scale, "nearest").pair
    images, maps = (_pixels(x) for x in pair[:2]), (landcover.to_rgb(x.numpy()) for x in pair[2:] if x is not None)
    return dict(zip(paths, (*images, *maps), strict=True))


def _pixels(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def _compare_sizes(look: _Look, read: Mapping[Source, np.ndarray]) -> None:
    shapes = [(path, (rgb.shape[1], rgb.shape[0])) for path, rgb in read.items()]
    for path, (w, h) in shapes[1:]:
        first, (fw, fh) = shapes[0]
        if (w, h) != (fw, fh):
            look.problems.append(("size", f"{first} is {fw} x {fh} pixels, but {path} is {w} x {h}"))
    look.size = shapes[0][1] if shapes else None


def _look_at_images(look: _Look, e: Example, read: Mapping[Source, np.ndarray]) -> None:
    blank = False
    for path in (e.a, e.b):
        if path in read and (read[path] == read[path][0, 0]).all():
            colour = tuple(int(c) for c in read[path][0, 0])
            look.problems.append(("blank", f"{path} is of the single colour {colour}"))
            blank = True
    if e.a in read and e.b in read:
        a, b = (hashlib.sha256(str(read[p].shape).encode() + read[p].tobytes()).digest() for p in (e.a, e.b))
        look.digest, look.same = a + b, a == b
        look.look = None if blank else appearance(read[e.a]) << 64 | appearance(read[e.b])


def _look_at_colours(look: _Look, e: Example, read: Mapping[Source, np.ndarray]) -> None:
    for path in (e.sem_a, e.sem_b):
        if path is not None and path in read and (strange := landcover.off_palette(read[path])):
            share = strange / (read[path].shape[0] * read[path].shape[1])
            look.problems.append(("palette", f"{path}: {strange} pixels ({share:.1%}) are off the SECOND palette"))


def _look_at_maps(look: _Look, e: Example, read: Mapping[Source, np.ndarray]) -> None:
    maps = [read[path] for path in (e.sem_a, e.sem_b) if path is not None and path in read]
    if len(maps) == 2 and maps[0].shape == maps[1].shape:
        a, b = (landcover.to_classes(rgb, "nearest") for rgb in maps)
        look.mapped = bool((a != b).any())


def appearance(rgb: np.ndarray) -> int:
    """64 bits of what an image ``(H, W, 3)`` uint8 looks like: where, on a grid of 8 by 8, it brightens rightwards."""
    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)  # (8, 9)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def _unlisted(examples: Sequence[Example], listed: set[Source]) -> Iterator[str]:
    """Files beside the images of a split that belong to no pair of any split."""
    for folder in sorted({path.parent for e in examples for path in (e.a, e.b) if isinstance(path, Path)}):
        with suppress(OSError):  # a folder that is not there, or closed to us: its files are missed one by one
            more = sorted(p.name for p in folder.iterdir() if p not in listed and not p.name.startswith("."))
            if more:
                yield f"{folder}: {len(more)} files are in no pair: {_names(more)}"


# Repetitions


def _repetitions(health: Health, every: Sequence[tuple[str, Example]], looks: Sequence[_Look], noted: _Notes) -> None:
    """Note pairs that are there twice, in one split or two, and pairs of several splits that look the same."""
    exact: dict[bytes, list[int]] = defaultdict(list)
    near: dict[int, list[int]] = defaultdict(list)
    for i, look in enumerate(looks):
        if look.digest is not None:
            exact[look.digest].append(i)
        if look.look is not None:
            near[look.look].append(i)
    noted.split = None
    same = [group for group in exact.values() if len(group) > 1]
    for group in same:
        noted("same", f"the same pair of images: {_names([f'{every[i][0]}/{every[i][1].id}' for i in group])}")
    first_of = {i: group[0] for group in exact.values() for i in group}
    alike = []
    for cluster in clusters(list(near)):
        group = [i for look in cluster for i in near[look]]
        distinct = sorted({first_of[i] for i in group})  # the repeated are noted above
        if len(distinct) > 1 and len({every[i][0] for i in group}) > 1:
            alike.append(group)
            noted("alike", f"pairs that look the same: {_names([f'{every[i][0]}/{every[i][1].id}' for i in distinct])}")
    for split, row in health.splits.items():
        for key, found in (("same_in_train", same), ("alike_in_train", alike)):
            twins = [g for g in found if any(every[i][0] == "train" for i in g)]
            row[key] = (
                None
                if split == "train" or "train" not in health.splits
                else sum(every[i][0] == split for g in twins for i in g)
            )


def clusters(looks: Sequence[int]) -> list[list[int]]:
    """Groups of distinct 128-bit numbers, each within :data:`CLOSE` bits of another of its group.

    Numbers that near agree in one of ``CLOSE + 1`` parts, so only those that share a part are compared.
    """
    parent = {look: look for look in looks}

    def root(look: int) -> int:
        while parent[look] != look:
            parent[look] = look = parent[parent[look]]
        return look

    width = -(-128 // (CLOSE + 1))
    for part in range(CLOSE + 1):
        shared: dict[int, list[int]] = defaultdict(list)
        for look in looks:
            shared[look >> part * width & (1 << width) - 1].append(look)
        for bucket in shared.values():
            for one, other in combinations(bucket, 2):
                if (one ^ other).bit_count() <= CLOSE:
                    parent[root(one)] = root(other)
    groups: dict[int, list[int]] = defaultdict(list)
    for look in looks:
        groups[root(look)].append(look)
    return list(groups.values())


def _names(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _together(rows: Mapping[str, dict[str, Any]], splits: Mapping[str, Sequence[Example]]) -> dict[str, Any]:
    """Statistics of all splits as one."""
    row = _statistics([e for examples in splits.values() for e in examples])
    sizes: Counter[str] = Counter()
    for other in rows.values():
        sizes.update(other.get("sizes", {}))
    return row | ({"sizes": dict(sizes.most_common())} if sizes else {})


# For people and for programs


def as_json(health: Health) -> str:
    """Everything found, as JSON."""
    content = asdict(health) | {"errors": health.errors, "warnings": len(health.findings) - health.errors}
    return json.dumps(content, ensure_ascii=False)


def table(health: Health) -> str:
    """Statistics, one column a split, then the findings, a few of each kind."""
    lines = [f"{health.format} in {health.root}", ""]
    columns = list(health.splits)
    rows = [(label, [show(health.splits[split]) for split in columns]) for label, show in _ROWS]
    rows = [(label, cells) for label, cells in rows if any(cell != "-" for cell in cells)]
    width = max([10, *(len(cell) + 2 for _, cells in rows for cell in cells)])
    if columns:
        lines.append(f"{'':30}" + "".join(f"{split:>{width}}" for split in columns))
        lines += [f"{label:30}" + "".join(f"{cell:>{width}}" for cell in cells) for label, cells in rows]
    if health.no_change_sentences:
        lines += ["", "sentences that say nothing changed"]
        lines += [f"{n:10}  {sentence}" for sentence, n in health.no_change_sentences.items()]
    for kind, (_, meaning) in KINDS.items():
        found = [f for f in health.findings if f.kind == kind]
        if found:
            lines += ["", f"{found[0].level}: {len(found)} x {meaning}"]
            lines += [f"  {f'[{f.split}] ' if f.split else ''}{f.message}" for f in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"  and {len(found) - SHOWN} more; format=json lists all")
    return "\n".join([*lines, "", f"{health.errors} errors, {len(health.findings) - health.errors} warnings"])


def _range(key: str, digits: int = 1) -> Any:
    def show(row: Mapping[str, Any]) -> str:
        values = row[key]
        return f"{values['min']} / {values['mean']:.{digits}f} / {values['max']}" if values else "-"

    return show


def _count(key: str) -> Any:
    return lambda row: "-" if row.get(key) is None else f"{row[key]:,}"


def _share(key: str) -> Any:
    return lambda row: "-" if row.get(key) is None else f"{row[key]:.2%}"


def _sizes(row: Mapping[str, Any]) -> str:
    sizes = list(row.get("sizes", ()))
    return "-" if not sizes else sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes"


_ROWS = (
    ("pairs", _count("pairs")),
    ("size in pixels", _sizes),
    ("same pair in train", _count("same_in_train")),
    ("alike pair in train", _count("alike_in_train")),
    ("captions", _count("captions")),
    ("  distinct", _count("distinct_captions")),
    ("  a pair, min/mean/max", _range("captions_per_pair")),
    ("words a caption, min/mean/max", _range("words_per_caption")),
    ("words", _count("words")),
    ("  distinct", _count("vocabulary")),
    ("  seen once", _count("words_seen_once")),
    ("  unknown in train", _share("unknown_words")),
    ("flagged as unchanged", _count("flagged_unchanged")),
    ("said to be unchanged", _count("no_change_pairs")),
    ("  share of pairs", _share("no_change_share")),
)
