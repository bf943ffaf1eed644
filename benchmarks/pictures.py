"""The pictures of the README, made of simulated pairs that were not trained on.

``python -m benchmarks.pictures CHECKPOINT``: ``docs/pairs.png``, four pairs with their maps, and ``docs/where.png``,
the figure of ``changecap caption ... figure=``.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

import changecap
from changecap.data import load
from changecap.data.palette import to_rgb
from changecap.data.synthetic.render import render_pair
from changecap.figure import draw

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


def main() -> None:
    """Draw both."""
    DOCS.mkdir(exist_ok=True)
    sheet(DOCS / "pairs.png")
    captioner = changecap.load(sys.argv[1])
    data = load("second_cc", captioner.config["data"]["root"], "test", captioner.size, maps=captioner.inputs != "rgb")
    first = next(i for i, example in enumerate(data.examples) if len(example.facts or ()) == 1)
    pair = data.batch([first])
    draw(DOCS / "where.png", data[first], captioner.caption(pair, beams=3, attend=True)[0])


if __name__ == "__main__":
    main()
