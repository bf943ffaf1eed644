"""The pictures of the README, made of simulated pairs that were not trained on.

``python -m benchmarks.pictures CHECKPOINT``: ``docs/pairs.png``, four pairs with their maps, ``docs/where.png``, the
figure of ``changecap caption ... figure=``, ``docs/prepare.png``, that of ``changecap prepare``, and
``docs/doctor.txt``, what ``changecap doctor`` says of a small data set with planted faults.
"""

import json
import shutil
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure
from PIL import Image

import changecap
from changecap.data import doctor, load, synthetic
from changecap.data.file_pairs import Job
from changecap.data.synthetic.render import render_pair
from changecap.inference.figure import draw
from changecap.inference.prepare import chain_of, prepare_files
from changecap.io.images import save
from changecap.landcover import to_rgb
from preprocess import Pair, corrupt

DOCS = Path("docs")
SIZE, SEED = 192, 3


def sheet(path: Path, count: int = 4) -> None:
    """Changed pairs in columns: before, after, and their maps."""
    rendered = (render_pair(SEED, i, SIZE) for i in range(1000))
    changed = [pair for pair in rendered if pair[4]][:count]
    fig = Figure(figsize=(2.0 * count, 8.3), dpi=100)
    for column, (a, b, sem_a, sem_b, _) in enumerate(changed):
        for row, (name, pixels) in enumerate(
            (("before", a), ("after", b), ("map before", to_rgb(sem_a)), ("map after", to_rgb(sem_b)))
        ):
            axes = fig.add_axes(((column + 0.02) / count, 1 - (row + 0.99) / 4, 0.96 / count, 0.92 / 4))
            axes.imshow(pixels)
            axes.set_title(name, fontsize=10, loc="left", pad=2)
            axes.set_xticks([])
            axes.set_yticks([])
    fig.savefig(path)


def examined() -> str:
    """What the doctor says of simulated pairs of which some were spoilt, each in its own way."""
    with TemporaryDirectory() as folder, chdir(folder):  # so that the paths it names are short
        root = synthetic.write("my_data", pairs=60, size=64, seed=SEED, workers=1, progress=False)
        train, test = (sorted((root / split / "rgb" / "A").iterdir()) for split in ("train", "test"))
        train[3].write_bytes(train[3].read_bytes()[:500])
        train[5].unlink()
        Image.open(train[7]).resize((48, 48)).save(train[7])
        map_after = root / "train" / "sem" / "B" / train[9].name
        Image.new("RGB", (64, 64), (200, 30, 90)).save(map_after)
        for date in "AB":
            shutil.copy(train[0].parents[1] / date / train[0].name, test[0].parents[1] / date / test[0].name)
        captions = root / "SECOND-CC-AUG.json"
        content = json.loads(captions.read_text())
        content["images"][0]["changeflag"] ^= 1
        captions.write_text(json.dumps(content))
        return doctor.table(doctor.examine("second_cc", root))


def prepared(path: Path) -> None:
    """A changed pair of two viewpoints and lights, registered and brought to one light."""
    i = next(i for i in range(1000) if render_pair(SEED, i, 256)[4])
    a, b = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in render_pair(SEED, i, 256)[:2])
    for name in ("viewpoint", "gamma"):
        _, b, *_ = corrupt(Pair(a, b), name, 4, ["x"], "pictures")
    with TemporaryDirectory() as folder:
        job = Job("simulated", *(Path(folder) / f"{date}.png" for date in "ab"))
        for file, x in ((job.a, a), (job.b, b)):
            save(file, x[0])
        list(prepare_files(chain_of(["register", "illuminate"]), [job], Path(folder) / "out", figures=path))
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(200)
    small.save(path, optimize=True)


def main() -> None:
    """Draw all, and let the doctor speak."""
    DOCS.mkdir(exist_ok=True)
    (DOCS / "doctor.txt").write_text(
        f"$ changecap doctor data=second_cc data.root=my_data\n{examined()}\n", encoding="utf-8"
    )
    sheet(DOCS / "pairs.png")
    prepared(DOCS / "prepare.png")
    captioner = changecap.load(sys.argv[1])
    data = load("second_cc", captioner.config["data"]["root"], "test", captioner.size, maps=captioner.inputs != "rgb")
    first = next(i for i, example in enumerate(data.examples) if len(example.facts or ()) == 1)
    pair = data.batch([first])
    draw(DOCS / "where.png", data[first], captioner.caption(pair, beams=3, attend=True)[0])


if __name__ == "__main__":
    main()
