"""The grid, filled cell by cell: what is finished is never done again, what is stopped goes on."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from .captioners import Speaker
from .grid import CLEAN, MAPS, NONE, Condition, Grid, Setting, described, same_as, steps
from .inputs import is_undone, views
from .measurements import Outcome, Scorer
from .pairs import Pairs
from .store import FORMAT, Store

Cell = tuple[str, Speaker]  # variant, captioner; of one setting


@dataclass(frozen=True)
class Bench:
    """All that a benchmark is made of, and where its cells are kept."""

    store: Store
    pairs: Pairs
    grid: Grid
    speakers: Sequence[Speaker]
    batch: int = 64
    device: str = "cpu"
    scorer: Scorer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scorer", Scorer(self.pairs.references, self.pairs.changed))

    def conditions(self, speaker: Speaker) -> list[Condition]:
        """What ``speaker`` is tried on, a condition whose images another one has under the other's name.

        Captioners of images run through the grid, those that take maps through the kinds of maps.
        """
        if speaker.inputs != "rgb":
            return [Condition(Setting(maps=kind)) for kind in MAPS]
        every = [Condition(setting, variant) for setting in self.grid.settings for variant in self.grid.variants]
        undone = {setting: is_undone(setting) for setting in self.grid.settings}
        return list(dict.fromkeys(same_as(condition, undone[condition.setting]) for condition in every))

    def key(self, speaker: Speaker, condition: Condition) -> dict[str, Any]:
        """Everything that a cell depends on."""
        setting, grid = condition.setting, self.grid
        found: dict[str, Any] = {
            "format": FORMAT,
            "captioner": speaker.fingerprint,
            "pairs": self.pairs.digest(self.number(setting), setting.maps is not None),
            "documents": self.pairs.fingerprint["sha256"],
            "data": self.pairs.dataset,
            "meteor": self.scorer.meteor,
            "variant": condition.variant if not steps(condition.variant) else list(steps(condition.variant)),
        }
        if setting.corruption is not None:
            found |= {**described(setting.corruption, setting.severity), "side": grid.side, "seed": grid.seed}
        if setting.maps is not None:
            found |= {"maps": setting.maps} | ({"seed": grid.seed} if setting.maps == "corrupted" else {})
        return found

    def number(self, setting: Setting) -> int:
        """How many pairs are tried in ``setting``."""
        return self.pairs.number(setting == CLEAN)

    def fill(self, shard: tuple[int, int] = (1, 1), progress: bool = True) -> None:
        """Finish the cells that are missing, those of one setting after the other.

        Args:
            shard: ``(i, n)``, only every n-th setting, from the i-th on; i counts from 1.
            progress: Whether a bar is shown, in captioned pairs.

        Raises:
            DataError: A callable does not say sentences, or a cell cannot be written; finished ones stay.
        """
        cells = self._cells()
        mine = [setting for n, setting in enumerate(cells) if n % shard[1] == shard[0] - 1]
        missing = {setting: self._missing(setting, cells[setting]) for setting in mine}
        total = sum(self.number(setting) * len(some) for setting, some in missing.items())
        waiting = deque(setting for setting in mine if missing[setting])
        with tqdm(total=total, desc="captioning", unit="pair", disable=not progress, smoothing=0.05) as bar:
            refused = 0  # in a row: others are at work on them
            while waiting:
                setting = waiting.popleft()
                with self.store.claim(_name(setting), wait=refused > len(waiting)) as got:
                    if not got:
                        waiting.append(setting)
                        refused += 1
                        continue
                    refused, some = 0, self._missing(setting, cells[setting])
                    bar.update(self.number(setting) * (len(missing[setting]) - len(some)))
                    self._finish(setting, some, bar)
        for speaker in self.speakers:
            speaker.forget()

    def unfinished(self) -> int:
        """How many cells are missing."""
        return sum(len(self._missing(setting, some)) for setting, some in self._cells().items())

    def outcomes(self, speaker: Speaker) -> dict[Condition, tuple[Outcome, dict[str, str]]]:
        """What ``speaker`` said in each condition, measured; and its sentences by pair.

        Raises:
            DataError: A cell is missing or broken.
        """
        found = {}
        for condition in self.conditions(speaker):
            cell = self.store.read(self.key(speaker, condition))
            said = cell["hypotheses"]
            found[condition] = Outcome.from_json(list(said), cell["statistics"]), said
        return found

    def _cells(self) -> dict[Setting, list[Cell]]:
        """Setting -> the cells in it, variant by variant."""
        found: dict[Setting, list[Cell]] = {}
        variants = self.grid.variants
        for speaker in self.speakers:
            for setting, variant in self.conditions(speaker):
                found.setdefault(setting, []).append((variant, speaker))
        return {setting: sorted(cells, key=lambda cell: variants.index(cell[0])) for setting, cells in found.items()}

    def _missing(self, setting: Setting, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if not self.store.has(self.key(cell[1], Condition(setting, cell[0])))]

    def _finish(self, setting: Setting, cells: Sequence[Cell], bar: tqdm) -> None:
        """Caption and score ``cells`` of one setting; each is kept as soon as it is finished."""
        wanted: dict[str, list[Any]] = {}
        for variant, speaker in cells:
            wanted.setdefault(variant, []).append(speaker.look)
        start = time.process_time()
        seen = views(self.pairs, setting, wanted, self.grid, self.device) if cells else {}
        images = time.process_time() - start
        still = {"a": "b", "b": "a", "both": None}[self.grid.side]
        ids = self.pairs.ids[: self.number(setting)]
        for variant, speaker in cells:
            start = time.process_time()
            said = dict(zip(ids, speaker.say(seen[variant, speaker.look.key], self.batch, still), strict=True))
            outcome = self.scorer(said)
            self.store.write(
                self.key(speaker, Condition(setting, variant)),
                {
                    "captioner": speaker.name,
                    "condition": {**setting._asdict(), "variant": variant},
                    "card": outcome.card(),
                    "seconds": {"images": round(images, 2), "captions": round(time.process_time() - start, 2)},
                    "hypotheses": said,
                    "statistics": outcome.to_json(),
                },
            )
            bar.update(len(said))


def _name(setting: Setting) -> str:
    """Of a setting, fit for a file."""
    if setting.maps is not None:
        return f"maps-{setting.maps}"
    return NONE if setting.corruption is None else f"{setting.corruption}-{setting.severity}"
