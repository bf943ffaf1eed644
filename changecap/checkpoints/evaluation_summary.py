"""What a checkpoint remembers of its evaluation: a few figures of the score card, in a file beside its weights.

The file names the weights that were evaluated, so that figures never pass to others that training put in their place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.atomic import write_whole
from ..io.json_file import read_json, to_json
from ..reports.card_text import meteor_of, value_of

FILE = "evaluation.json"


def remember(folder: Path, config: Mapping[str, Any], card: Mapping[str, Any], data: str) -> None:
    """Write what `remembered` reads.

    Args:
        folder: Of the checkpoint.
        config: Of the checkpoint.
        card: Its score card.
        data: Name of the data set.
    """
    meteor = meteor_of(card["rows"][0])
    metrics = ("Bleu_4", "ROUGE_L", meteor, "CIDEr")
    names = {
        "flag": ("false_alarm", "miss", "balanced_accuracy"),
        "description": metrics,
        "overall": metrics,
        "canonical": metrics,
    }
    rows = [
        {
            "name": row["name"],
            "inputs": row["inputs"],
            "figures": {
                part: {
                    name: {"value": value, "interval": (row["intervals"].get(part) or {}).get(name)}
                    for name in several
                    if (value := value_of(row, part, name)) is not None
                }
                for part, several in names.items()
            },
        }
        for row in card["rows"]
    ]
    head = {key: card[key] for key in ("split", "pairs", "changed", "beams", "decode")}
    found = {"weights": config["files"]["weights"]["sha256"], "data": data, **head, "rows": rows}
    write_whole(folder / FILE, to_json(found))


def remembered(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was measured of the very weights in ``folder``, None where nothing was.

    Raises:
        DataError: The file is broken.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    found = read_json(path, remedy="evaluate the checkpoint once more, or delete the file")
    right = isinstance(found, dict) and found.get("weights") == config["files"]["weights"]["sha256"]
    return found if right else None
