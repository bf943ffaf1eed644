"""How each value of a score was computed, in words that stand beside it."""

from collections.abc import Mapping

from .statistics import BLEU

_MEAN = "mean over pairs"
_CIDER = "sigma 6, n = 1..4, document frequencies of {documents}, " + _MEAN
_WHAT = {
    **dict.fromkeys(BLEU, "summed counts, closest reference length (ties to the shorter), coco-caption's epsilons"),
    "ROUGE_L": f"beta 1.2, best precision and best recall of all references, split at every blank, {_MEAN}",
    "CIDEr": "CIDEr-D: clipped, " + _CIDER,
    "CIDEr_plain": "CIDEr: not clipped, no length penalty, " + _CIDER.removeprefix("sigma 6, "),
    "METEOR": "METEOR 1.5, English, normalised; exact, stem, synonym and paraphrase; of summed statistics",
    "METEOR_exact_stem": "METEOR 1.5 as METEOR, without synonyms and paraphrases: lower by about a point and a half",
    "NLTK_METEOR": f"nltk's meteor_score, other parameters and matching than METEOR 1.5, {_MEAN}",
    "SPICE": f"the Java tool's F over scene graphs, {_MEAN}",
    "sm4": "mean of Bleu_4, METEOR, ROUGE_L and CIDEr, unweighted",
    "sm5": "mean of Bleu_4, METEOR, ROUGE_L, CIDEr and SPICE, unweighted",
}


def described(missing: Mapping[str, str], documents: str, units: str) -> dict[str, str]:
    """How each metric was computed, or why it was not.

    Args:
        missing: Metrics that are not there, with the reason.
        documents: What CIDEr's document frequencies are of.
        units: What the sentences were made of.
    """
    return {
        name: f"not computed: {missing[name]}" if name in missing else f"{what.format(documents=documents)}; {units}"
        for name, what in _WHAT.items()
    }
