"""The captioners at their published size: parameters, arithmetic, and seconds per pair on one thread.

ResNet-101 or ViT-B/32, 256 pixels, a vocabulary of 500, sentences of 11 words, one beam. Beside each time stands how
far it is from the least it could be: for trunk and encoder their floating-point operations at the measured rate of
matrix products, for decoding, where each word of one sentence reads every weight once, the weights at the measured rate
of reading memory. Both rates are taken again before each row, for the machine may not be alone.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import zoo
from benchmarks.report import keep, matmul_rate, read_rate
from zoo.layers.backbone import Backbone

VOCAB, SIZE, WORDS, REPEATS = 500, 256, 11, 3
PARTS = ("backbone", "encoder", "decoding")
TITLES = ("GFLOP a pair", "ms a pair, one thread", "times the floor")
# million parameters that the authors' code carries, and those of them that never get a gradient, as counted in it
AUTHORS = {
    "chg2cap": (329.0, 63.0),
    "mmodalcc": (103.0, 10.7),
    "psnet": (424.5, 219.9),
    "psnet, ResNet-101": (363.8, 219.8),
    "rsiccformer": (85.4, 19.8),
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # row -> model and what differs from its signature
    "psnet, ResNet-101": ("psnet", {"backbone": {"name": "resnet101", "stride": 16}}),
}


def pair(model: zoo.Captioner, device: str) -> list[torch.Tensor]:
    """One pair of the published size, with maps where the captioner looks at them."""
    images = [torch.rand(1, 3, SIZE, SIZE, device=device) for _ in range(2)]
    maps = [torch.randint(0, 7, (1, SIZE, SIZE), device=device) for _ in range(2)]
    return images + (maps if model.inputs != "rgb" else [])


def say(model: zoo.Captioner, memory: zoo.Memory) -> None:
    """Decode a sentence of :data:`WORDS` words, each scored once."""
    state = None
    for _ in range(WORDS):
        word = torch.ones(1, 1, dtype=torch.long, device=memory[0].device)
        state = model.decode(word, memory, state)[1]


def within(model: zoo.Captioner, start: Callable[[], float], encode: Callable[[], Any]) -> tuple[float, float, Any]:
    """How much of what ``start`` counts was spent in the trunks, and in the rest of ``encode``; and what it gave."""
    spent = [0.0]
    hooks = []
    for trunk in (m for m in model.modules() if isinstance(m, Backbone)):
        hooks.append(trunk.register_forward_pre_hook(lambda *_: spent.append(spent.pop() - start())))
        hooks.append(trunk.register_forward_hook(lambda *_: spent.append(spent.pop() + start())))
    before = start()
    out = encode()
    total = start() - before
    for hook in hooks:
        hook.remove()
    return spent[0], total - spent[0], out


@torch.no_grad()
def operations(name: str, arguments: dict[str, Any]) -> tuple[float, ...]:
    """Floating-point operations of the three :data:`PARTS`; nothing is computed."""
    with torch.device("meta"):
        model = zoo.create_model(name, vocab=VOCAB, **arguments).eval()
    with FlopCounterMode(display=False) as counter:
        backbone, encoder, memory = within(model, counter.get_total_flops, lambda: model.encode(*pair(model, "meta")))
        before = counter.get_total_flops()
        say(model, memory)
        return backbone, encoder, counter.get_total_flops() - before


@torch.no_grad()
def seconds(name: str, arguments: dict[str, Any]) -> tuple[tuple[float, ...], int, int]:
    """Seconds of the three :data:`PARTS`, at best; all parameters; bytes of them that a word reads."""
    torch.manual_seed(0)
    model = zoo.create_model(name, vocab=VOCAB, **arguments).eval()
    images, rows = pair(model, "cpu"), []
    for _ in range(REPEATS):
        backbone, encoder, memory = within(model, time.perf_counter, lambda: model.encode(*images))
        before = time.perf_counter()
        say(model, memory)
        rows.append((backbone, encoder, time.perf_counter() - before))
    read = sum(p.nbytes for n, p in model.named_parameters() if n.startswith("words.") and "embedding" not in n)
    return tuple(map(min, zip(*rows, strict=True))), sum(p.numel() for p in model.parameters()), read


def main() -> None:
    """Print a row per captioner, default and released, and how far each time is from its floor."""
    asked = {name: (name, {}) for name in zoo.list_models()} | VARIANTS
    lines = [
        f"{'':28} {'parameters, million':^29}   " + "   ".join(f"{title:^29}" for title in TITLES),
        f"{'':28} {'ours':>9} {'theirs':>9} {'dead':>9}   "
        + "   ".join(" ".join(f"{part:>9}" for part in PARTS) for _ in range(3)),
    ]
    rates = []
    for row, (name, arguments) in asked.items():
        for released in (False, True):
            options = arguments | {"released": released}
            flop = operations(name, options)
            rates.append((matmul_rate(1) * 1e9, read_rate(1) * 1e9))
            took, parameters, read = seconds(name, options)
            floor = (flop[0] / rates[-1][0], flop[1] / rates[-1][0], WORDS * read / rates[-1][1])
            columns = (
                (parameters / 1e6, *AUTHORS[row]) if released else (parameters / 1e6,),
                [f / 1e9 for f in flop],
                [t * 1e3 for t in took],
                [t / least for t, least in zip(took, floor, strict=True)],
            )
            figures = "   ".join(f"{' '.join(f'{x:9.1f}' for x in column):29}" for column in columns)
            lines.append(f"{row + (', released' if released else ''):28} {figures}".rstrip())
            print(lines[-1], file=sys.stderr)
    products, reads = zip(*rates, strict=True)
    lines.append(
        f"rates on one thread: {min(products) / 1e9:.0f} to {max(products) / 1e9:.0f} GFLOP/s, "
        f"{min(reads) / 1e9:.1f} to {max(reads) / 1e9:.1f} GB/s; theirs and dead: the authors' code"
    )
    keep("\n".join(lines), "zoo")


if __name__ == "__main__":
    main()
