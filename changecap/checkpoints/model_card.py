"""The page that says what a captioner is: for the hub, and for whoever is given its folder."""

import json
from collections.abc import Mapping
from typing import Any

import zoo

from ..reports.card_text import FIGURE_LABELS, LABELS

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
    evaluation = config.get("evaluation")
    if evaluation is None:
        lines.append("- **Scores**: none recorded; `changecap evaluate` measures them.")
    else:
        lines += _scores(evaluation)
    lines += [
        "- **Limits**: it says what the captions it learned from say, of images like theirs: other sensors, scales and "
        "places are out of its reach, and a sentence is no measurement.",
        "- **Licence**: not recorded. That of the data and, where they were not trained here, of the weights apply.",
    ]
    return "\n".join(lines) + "\n"


def _scores(evaluation: Mapping[str, Any]) -> list[str]:
    """The test scores with their intervals, and those of the degenerate baselines below."""
    rows = evaluation["rows"]
    parts = {"flag": "", "description": ", changed pairs", "overall": ", all pairs"}
    columns = [(part, name) for part in parts for name in rows[0]["figures"][part]]
    heads = [FIGURE_LABELS[name] + parts[part] for part, name in columns]
    search = {"beams": evaluation["beams"], **evaluation["decode"]}
    lines = [
        f"- **Scores**: on the {evaluation['split']} split of `{evaluation['data']}`, {evaluation['pairs']:,} pairs, "
        f"{evaluation['changed']:,} changed; {', '.join(f'{key}: {value}' for key, value in search.items())}. "
        "Fractions, with 95 % bootstrap intervals over the pairs; METEOR and CIDEr-D as the field computes them, CIDEr "
        "by the document frequencies of all pairs. Nobody should lose to the rows below the first.",
        "",
        "| | " + " | ".join(heads) + " |",
        "|---" + "|--:" * len(heads) + "|",
    ]
    for row in rows:
        cells = [_cell(row["figures"][part].get(name), row is rows[0]) for part, name in columns]
        name = "this model" if row is rows[0] else LABELS.get(row["name"], row["name"])
        lines.append("| " + " | ".join([f"{name} ({row['inputs']})", *cells]) + " |")
    return [*lines, ""]


def _cell(found: Mapping[str, Any] | None, whole: bool) -> str:
    if found is None:
        return "-"
    between = found["interval"] if whole else None
    return f"{found['value']:.3f}" + ("" if between is None else f" [{between[0]:.3f}, {between[1]:.3f}]")
