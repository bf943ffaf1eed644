"""The page ``docs/parity.md``: every captioner, in its released mode, against what its authors' code printed.

``python -m benchmarks.parity [FIXTURE ...]``: the fixtures of the tests unless folders are named.
"""

import sys
from pathlib import Path

from benchmarks.report import machine
from changecap.evaluation.parity import Check, parity

PAGE, FIXTURES = Path("docs/parity.md"), Path("tests/golden")
HEAD = """# Parity with the authors' code

Each captioner with `released=True` and the authors' weights, in evaluation (memory, logits, loss, and every mode of
decoding) and in training (loss, gradient norms, BatchNorm statistics), against numbers that the authors' own code
printed on the same inputs. Weights are random and widths small; the arithmetic is theirs. One model alone:
`changecap parity fixture=tests/golden/psnet/public`.
"""


def shown(check: Check) -> str:
    """One row of the table."""
    verdict = "yes" if check.ok else f"**no**: {check.where}"
    return f"| {check.what} | {check.difference:.1e} | {check.tolerance:g} | {verdict} |"


def main() -> None:
    """Write the page; status 1 where something departs."""
    folders = [Path(f) for f in sys.argv[1:]] or sorted(p.parent for p in FIXTURES.glob("*/*/config.json"))
    lines, agree = [HEAD], True
    for folder in folders:
        checks = parity(folder)
        good = sum(check.ok for check in checks)
        agree &= good == len(checks)
        lines += [
            f"## {folder.parent.name}, fixture {folder.name}: {good} of {len(checks)} agree\n",
            "| compared | largest difference | allowed | agrees |",
            "|---|---|---|---|",
            *map(shown, checks),
            "",
        ]
        print(lines[-len(checks) - 4].strip())
    page = "\n".join([*lines, f"`python -m benchmarks.parity`, {machine()}", ""])
    PAGE.write_text(page, encoding="utf-8")
    print(f"page: {PAGE}")
    raise SystemExit(0 if agree else 1)


if __name__ == "__main__":
    main()
