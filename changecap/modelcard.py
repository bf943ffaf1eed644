"""The page that says what a captioner is: for the hub, and for whoever is given its folder."""

import json
from collections.abc import Mapping
from typing import Any

import zoo

_INPUTS = {
    "rgb": "two images of one place, before and after",
    "maps": "two land-cover maps of one place, before and after",
    "both": "two images of one place, before and after, and a land-cover map of each",
}


def model_card(config: Mapping[str, Any], model: zoo.Captioner, words: int) -> str:
    """The card of ``model``, in Markdown, of what the ``config`` of its checkpoint knows; what it lacks is said.

    Args:
        config: of the checkpoint.
        model: the captioner.
        words: the size of its vocabulary.
    """
    name, origin, data = config["model"]["name"], config.get("provenance"), config.get("data")
    parameters = sum(p.numel() for p in model.parameters())
    lines = [
        "---",
        "library_name: changecap",
        "pipeline_tag: image-to-text",
        "tags: [change-captioning, remote-sensing]",
        "---",
        f"# {name}: changes between two images, in a sentence",
        "",
        "```python",
        "import changecap",
        'captioner = changecap.load("this folder, or hf-hub:organisation/name")',
        f"captioner({'a, b' if model.inputs == 'rgb' else 'a, b, sem_a, sem_b'})",
        "```",
        "",
        f"- **Inputs**: {_INPUTS[model.inputs]}, seen at {config['size']} x {config['size']} pixels.",
        f"- **Size**: {parameters:,} parameters, {words} words.",
    ]
    if origin is not None:
        lines.append(
            f"- **Weights**: the authors' own, from `{origin['file']}` (SHA-256 `{origin['sha256']}`); "
            f"{origin['used']} weights used, {len(origin['dead'])} that their code never uses left out."
        )
        lines += [f"- **Assumed**: {what}." for what in origin["assumed"]]
    if data is not None:
        told = {
            key: value for key, value in data.items() if key in ("name", "size", "bands", "scale", "synth") and value
        }
        lines.append(f"- **Data**: trained on `{json.dumps(told)}`.")
    elif origin is None:
        lines.append("- **Data**: not recorded.")
    measured = {key: value for key, value in (config.get("validation") or {}).items() if value is not None}
    if measured:
        scores = ", ".join(f"{key} {value:.4f}" for key, value in measured.items())
        lines.append(f"- **Validation**: {scores}, the best of the run, by which it was chosen; not a test score.")
    else:
        lines.append("- **Scores**: none recorded; `changecap evaluate` measures them.")
    lines += [
        "- **Limits**: it says what the captions it learned from say, of images like theirs: other sensors, scales and "
        "places are out of its reach, and a sentence is no measurement.",
        "- **Licence**: not recorded. That of the data and, where they were not trained here, of the weights apply.",
    ]
    return "\n".join(lines) + "\n"
