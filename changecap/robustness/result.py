"""What a benchmark comes to: tidy tables, words, a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..io.atomic import write_whole
from ..io.json_file import to_json
from . import failures, plots
from .findings import notes, sentences
from .page import report
from .paper_tables import as_csv, latex
from .run import Bench
from .store import writing
from .tables import REFERENCE, Row, first_severities, maps_rows, measured, rows, summary


@dataclass(frozen=True)
class Ablation:
    """The tables of a benchmark; each is a list of rows, a row a mapping of plain values, ready for a data frame.

    Attributes:
        head: What was tried.
        rows: One for each captioner, corruption, severity and variant; see `tables.rows`.
        summary: What they come to; see `tables.summary`.
        first_severities: Where false alarms become too many; see `tables.first_severities`.
        maps: Of captioners that take maps; see `tables.maps_rows`.
        said: The findings in plain sentences.
        notes: What a reader of the figures must know.
        page: The page, where one was written.
        missing: Cells that other shards have still to finish; until there are none all tables are empty.
    """

    head: Mapping[str, Any]
    rows: Sequence[Row]
    summary: Sequence[Row]
    first_severities: Sequence[Row]
    maps: Sequence[Row]
    said: Sequence[str]
    notes: Sequence[str]
    page: Path | None = None
    missing: int = 0

    def to_csv(self, path: str | Path) -> None:
        """Write `rows` as CSV."""
        write_whole(Path(path), as_csv(self.rows))

    @property
    def tables(self) -> dict[str, Sequence[Row]]:
        """All tables by their name."""
        names = ("rows", "summary", "first_severities", "maps")
        return {name: getattr(self, name) for name in names}


def results(bench: Bench, out: Path | None) -> Ablation:
    """The tables of ``bench`` once it is finished; and in ``out`` its page, pictures, CSV, LaTeX and JSON.

    Raises:
        DataError: A cell is broken, or ``out`` cannot be written.
    """
    asked = bench.grid
    if missing := bench.unfinished():
        return Ablation({}, [], [], [], [], [], [], missing=missing)
    found = measured(bench)
    head = {
        **{key: value for key, value in bench.pairs.fingerprint.items() if key in ("data", "split")},
        "pairs": bench.pairs.count,
        "changed": found.changed,
        "clean_pairs": len(bench.pairs.ids),
        "documents": len(bench.pairs.references),
        "captioners": {system: len(runs) for system, runs in found.runs.items()},
        **asked._asdict(),
        "meteor": bench.scorer.meteor,
        "reference": found.reference,
        "is_rsiccformer": any(s.system == found.reference and s.is_of(REFERENCE) for s in bench.speakers),
    }
    head |= {key: list(head[key]) for key in ("corruptions", "severities", "variants")}
    tables = (rows(found), summary(found), first_severities(found), maps_rows(found))
    said = sentences(head, *tables[:3])
    page = None if out is None else out / "report.html"
    made = Ablation(head, *tables, said, list(notes(head, tables[1])), page)
    if out is not None:
        _write(bench, made, out)
    return made


def _write(bench: Bench, made: Ablation, out: Path) -> None:
    files: dict[str, str | bytes] = {"ablation.json": to_json({"head": made.head, "said": made.said, **made.tables})}
    files |= {f"{name}.csv": as_csv(table) for name, table in made.tables.items() if table}
    curves = None
    if made.summary:
        curves = plots.curves(made.rows, made.head["corruptions"])
        files["curves.png"] = curves
        files["heatmap.png"] = plots.heat_maps(made.summary, made.head["corruptions"])
        files["summary.tex"] = latex(made.head, made.summary)
    worst = [(failure, failures.pictures(bench, failure)) for failure in failures.worst(bench)]
    files["report.html"] = report(made.head, made.tables, made.said, made.notes, curves, worst)
    with writing(out):
        for name, content in files.items():
            write_whole(out / name, content)
