"""Real images before a captioner that has only seen simulated ones: what does it say?

``python -m benchmarks.real RGB_CHECKPOINT [MAPS_CHECKPOINT]``: the real SECOND-CC example is captioned by both, the
real pairs, which have no maps, by the first. Looks for the images in ``$CHANGECAP_SHARED`` (default ``../shared``).
"""

import os
import sys
from pathlib import Path

import changecap
from benchmarks.report import keep
from changecap.data import load
from changecap.metrics import score

SHARED = Path(os.environ.get("CHANGECAP_SHARED", "../shared"))


def main() -> None:
    """Print the sentence, its log-probability and what is known of each pair."""
    captioners = [changecap.load(folder) for folder in sys.argv[1:]]
    lines = []
    for captioner in captioners:
        maps = captioner.inputs != "rgb"
        data = load("second_cc", SHARED / "second_cc_real", "test", captioner.size, maps=maps)
        example = data.examples[0]
        caption = captioner.caption(data.batch([0]), beams=3)[0]
        scores = score({"fig1": list(example.captions)}, {"fig1": caption.text})["corpus"]
        shown = ", ".join(f"{k} {scores[k]:.3f}" for k in ("Bleu_1", "Bleu_4", "ROUGE_L"))
        lines += [f"real SECOND-CC example, inputs {captioner.inputs}: {caption.text} ({caption.score:.1f}); {shown}"]
    lines += ["references:", *(f"  {sentence}" for sentence in example.captions), ""]
    folder = SHARED / "pairs" / "public"
    for a in sorted((folder / "A").glob("*.png")):
        caption = captioners[0](a, folder / "B" / a.name)
        lines.append(f"{a.stem:28} {caption.score:7.1f}  {caption.text}")
    keep("\n".join(lines), "real")


if __name__ == "__main__":
    main()
