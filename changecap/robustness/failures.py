"""The worst failures: pairs that a captioner describes rightly, and wrongly as soon as little is done to them."""

from collections.abc import Iterator
from dataclasses import dataclass

from preprocess import Pair

from ..language.no_change import says_no_change
from .grid import CLEAN, NONE, Condition, Setting
from .inputs import shown
from .run import Bench


@dataclass(frozen=True)
class Failure:
    """A pair of which a captioner says something else once it is corrupted."""

    captioner: str
    id: str
    setting: Setting
    changed: bool
    clean: str  # what is said of the clean pair
    corrupted: str  # and of the corrupted one
    truth: str
    lost: float  # CIDEr-D of the pair's sentence

    @property
    def is_flag(self) -> bool:
        """Whether the clean sentence tells rightly whether the pair changed, and the corrupted one wrongly."""
        says = [not says_no_change(sentence) for sentence in (self.clean, self.corrupted)]
        return says == [self.changed, not self.changed]


def worst(bench: Bench, count: int = 5) -> list[Failure]:
    """The ``count`` worst failures without cure, no pair twice, and no corruption twice while there are others.

    A wrong flag is worse than a worse sentence, a milder corruption worse than a harsher one, a change that is made up
    worse than one that is missed; then the more CIDEr-D is lost, the worse.
    """
    order = sorted(_all(bench), key=lambda f: (not f.is_flag, f.setting.severity, f.changed, -f.lost))
    found: list[Failure] = []
    for is_new_kind in (True, False):
        for failure in order:
            told = {f.setting.corruption for f in found} if is_new_kind else set()
            is_new = failure.setting.corruption not in told and failure.id not in {f.id for f in found}
            if is_new and len(found) < count:
                found.append(failure)
    return found


def pictures(bench: Bench, failure: Failure) -> list[tuple[str, Pair]]:
    """The clean pair and the corrupted one, uint8 ``(3, H, W)`` each, with what they are called."""
    place = bench.pairs.ids.index(failure.id)
    settings = {"clean": CLEAN, "corrupted": failure.setting}
    batches = {name: shown(bench.pairs, range(place, place + 1), s, bench.grid) for name, s in settings.items()}
    return [(name, Pair(batch.a[0], batch.b[0])) for name, batch in batches.items()]


def _all(bench: Bench) -> Iterator[Failure]:
    for speaker in bench.speakers:
        if speaker.inputs != "rgb":
            continue
        cells = bench.outcomes(speaker)
        clean, spoken = cells[Condition(CLEAN)]
        before = clean.statistics.means["CIDEr"]
        for (setting, variant), (outcome, said) in cells.items():
            if variant != NONE or setting == CLEAN:
                continue
            after = outcome.statistics.means["CIDEr"]
            for n, (i, sentence) in enumerate(said.items()):
                if sentence != spoken[i]:
                    truth = bench.pairs.references[i][0]
                    lost = float(before[n] - after[n])
                    changed = bench.pairs.changed[i]
                    yield Failure(speaker.name, i, setting, changed, spoken[i], sentence, truth, lost)
