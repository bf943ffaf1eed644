"""How fast pairs are augmented: the chain on batches against a plain loop over images, the same operations in both.

``python -m benchmarks.augmentation [PAIRS]``: 256 x 256 pixels with maps, one thread, by default 128 pairs. The loop
draws and does what a CPU loader does with numpy and scikit-image, image by image: flips, quarter turns, gamma,
brightness, a blur by a Gaussian, along a line and by a disc. All probabilities are 1, so that both do all the work;
each operation is timed alone, too. Seconds are the processor's: other load on the machine is not counted.
"""

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from skimage import exposure, filters, morphology

from benchmarks.corruptions import SIZE, simulated
from benchmarks.report import keep
from preprocess import Pair, build

BATCH, REPEATS = 16, 3
SMALLER = (1, 4)  # batches of the whole chain: what fits into the processor's cache is not fetched twice
CHAIN = {
    "flip": {},
    "rotate90": {"p": 1.0},
    "gamma": {},
    "brightness": {},
    "gaussian_blur": {"low": 0.5, "p": 1.0},
    "motion_blur": {"p": 1.0},
    "defocus": {"p": 1.0},
}
Images = tuple[np.ndarray, ...]  # both dates (H, W, 3) float in [0, 1], both maps (H, W)


def _geometry(pair: Images, change: Callable[[np.ndarray], np.ndarray]) -> Images:
    return tuple(np.ascontiguousarray(change(x)) for x in pair)


def _images(pair: Images, change: Callable[[np.ndarray], np.ndarray]) -> Images:
    """Each date has its own draw; maps stay."""
    a, b, *maps = pair
    return change(a), change(b), *maps


def flip(pair: Images, rng: np.random.Generator) -> Images:
    """Mirror left and right, top and bottom, each every other time."""
    for axis in (0, 1):
        if rng.random() < 0.5:
            pair = _geometry(pair, lambda x, axis=axis: np.flip(x, axis))  # type: ignore[misc]
    return pair


def rotate90(pair: Images, rng: np.random.Generator) -> Images:
    """Turn by one, two or three quarters."""
    quarters = int(rng.integers(1, 4))
    return _geometry(pair, lambda x: np.rot90(x, -quarters))


def gamma(pair: Images, rng: np.random.Generator) -> Images:
    """A power."""
    return _images(pair, lambda x: exposure.adjust_gamma(x, 0.6 * (1.7 / 0.6) ** rng.random()))


def brightness(pair: Images, rng: np.random.Generator) -> Images:
    """A shift."""
    return _images(pair, lambda x: np.clip(x + np.float32(rng.uniform(-0.15, 0.15)), 0, 1))


def gaussian_blur(pair: Images, rng: np.random.Generator) -> Images:
    """A Gaussian, separable."""
    return _images(pair, lambda x: filters.gaussian(x, rng.uniform(0.5, 2), mode="nearest", channel_axis=-1))


def motion_blur(pair: Images, rng: np.random.Generator) -> Images:
    """A line of a direction of its own, drawn with the smoothness of the chain's."""

    def change(x: np.ndarray) -> np.ndarray:
        length, angle = rng.uniform(5, 15), rng.uniform(0, np.pi)
        steps = np.arange(-9, 10)
        along = np.abs(steps * np.cos(angle) - steps[:, None] * np.sin(angle))
        across = np.abs(steps * np.sin(angle) + steps[:, None] * np.cos(angle))
        return _filtered(x, np.clip(length / 2 + 0.5 - along, 0, 1) * np.clip(1 - across, 0, None))

    return _images(pair, change)


def defocus(pair: Images, rng: np.random.Generator) -> Images:
    """A disc."""
    return _images(pair, lambda x: _filtered(x, morphology.disk(round(rng.uniform(0.5, 3))).astype(float)))


def _filtered(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return np.stack([ndimage.convolve(band, kernel, mode="nearest") for band in np.moveaxis(x, 2, 0)], 2)


PLAIN = {f.__name__: f for f in (flip, rotate90, gamma, brightness, gaussian_blur, motion_blur, defocus)}


def plain_loop(names: Sequence[str], pairs: Sequence[Images]) -> None:
    """Bytes in, bytes out, one pair after the other."""
    rng = np.random.default_rng(0)
    for a, b, sem_a, sem_b in pairs:
        pair: Images = (a / np.float32(255), b / np.float32(255), sem_a, sem_b)
        for name in names:
            pair = PLAIN[name](pair, rng)
        for x in pair[:2]:
            (x * 255).round().clip(0, 255).astype(np.uint8)


def batched(names: Sequence[str], batches: Sequence[Pair]) -> None:
    """The chain, a batch after the other."""
    chain, generator = build([{name: CHAIN[name]} for name in names]), torch.Generator().manual_seed(0)
    for batch in batches:
        chain(batch, generator)


def rate(call: Callable[[], None], pairs: int) -> float:
    """Pairs for each processor second, the best of a few times."""
    spent = []
    for _ in range(REPEATS):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return pairs / min(spent)


def main() -> None:
    """Print pairs a second of both, for each operation and all of them."""
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    some = simulated()
    rows = torch.arange(count) % len(some.a)
    whole = Pair(*(x[rows] for x in some if x is not None))
    images = [
        tuple(x.numpy() for x in (p.a.permute(1, 2, 0), p.b.permute(1, 2, 0), p.sem_a, p.sem_b)) for p in _each(whole)
    ]
    lines = [
        f"pairs of {SIZE} x {SIZE} with maps for each CPU second, one thread, uint8 to uint8, batches of {BATCH}",
        "",
        f"{'':16}{'plain loop':>12}{'chain':>10}{'ratio':>8}",
    ]
    for name, names in {**{name: [name] for name in CHAIN}, "all of them": [*CHAIN]}.items():
        plain = rate(lambda names=names: plain_loop(names, images), count)  # type: ignore[misc]
        for size in (BATCH, *SMALLER) if names == [*CHAIN] else (BATCH,):
            batches = [Pair(*(x[i : i + size] for x in whole if x is not None)) for i in range(0, count, size)]
            ours = rate(lambda names=names, batches=batches: batched(names, batches), count)  # type: ignore[misc]
            label = name if size == BATCH else f"  batches of {size}"
            lines.append(f"{label:16}{plain:12.1f}{ours:10.1f}{ours / plain:8.2f}")
    keep("\n".join(lines), "augmentation")


def _each(pair: Pair) -> list[Pair]:
    return [Pair(*row) for row in zip(*pair, strict=True)]


if __name__ == "__main__":
    main()
