"""How dense the lines are, room by room: tokens a line, nested comprehensions, comments, lengths of functions.

``python -m benchmarks.density [folder or file ...]`` prints the table. A code line is one that holds a name, an
operator, a number or a string outside docstrings.
"""

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("changecap", "zoo", "preprocess")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COUNTED = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)


@dataclass
class Density:
    """Counts over one or more files."""

    lines: int = 0
    tokens: int = 0
    nested: list[str] = field(default_factory=list)  # places, as FILE:LINE
    own_comments: int = 0  # on a line of their own
    end_comments: int = 0  # behind code
    functions: dict[str, int] = field(default_factory=dict)  # FILE:LINE name -> lines
    public: int = 0  # definitions of a public name
    undocumented: list[str] = field(default_factory=list)

    @property
    def tokens_a_line(self) -> float:
        """Tokens in a mean code line."""
        return self.tokens / max(self.lines, 1)

    def per_thousand(self, count: int) -> float:
        """``count`` for every 1,000 code lines."""
        return 1000 * count / max(self.lines, 1)


def measure(paths: Iterable[Path]) -> Density:
    """The density of Python files ``paths`` together."""
    found = Density()
    for path in paths:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        _count_tokens(source, _docstring_lines(tree), found)
        _count_comprehensions(path, tree, found)
        _count_definitions(path, tree, found)
    return found


def python_files(folder: Path) -> list[Path]:
    """The Python files of ``folder``, or the file itself."""
    return [folder] if folder.is_file() else sorted(folder.rglob("*.py"))


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            text = node.body[0]
            lines.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def _count_tokens(source: str, docstrings: set[int], found: Density) -> None:
    code_lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.line.strip().startswith("#"):
                found.own_comments += 1
            else:
                found.end_comments += 1
        elif token.type in _COUNTED and token.start[0] not in docstrings:
            found.tokens += 1
            code_lines.add(token.start[0])
    found.lines += len(code_lines)


def _count_comprehensions(path: Path, tree: ast.Module, found: Density) -> None:
    """Count those with two loops, and those with another one inside."""
    for node in ast.walk(tree):
        if not isinstance(node, _COMPREHENSIONS):
            continue
        inner = [other for other in ast.walk(node) if isinstance(other, _COMPREHENSIONS) and other is not node]
        if len(node.generators) > 1 or inner:
            found.nested.append(f"{path}:{node.lineno}")


def _count_definitions(path: Path, tree: ast.Module, found: Density) -> None:
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            found.functions[f"{path}:{node.lineno} {node.name}"] = length
    for node in _public(tree):
        found.public += 1
        if ast.get_docstring(node) is None:
            found.undocumented.append(f"{path}:{node.lineno} {node.name}")


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes, functions and methods whose names and whose classes' names are public."""
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node)


def rooms() -> Iterator[tuple[str, list[Path]]]:
    """Each folder of the project that is a package of its own subject, and its files."""
    for package in PACKAGES:
        folder = Path(package)
        own = sorted(folder.glob("*.py"))
        if own:
            yield package, own
        for room in sorted(folder.iterdir()):
            if room.is_dir() and (room / "__init__.py").exists():
                yield str(room), python_files(room)


def row(name: str, density: Density) -> str:
    """One line of the table."""
    longest = max(density.functions, key=lambda key: density.functions[key], default="")
    lengths = list(density.functions.values()) or [0]
    documented = 100 * (1 - len(density.undocumented) / max(density.public, 1))
    return (
        f"{name:26}{density.lines:7}{density.tokens_a_line:8.1f}{density.per_thousand(len(density.nested)):8.1f}"
        f"{density.per_thousand(density.own_comments):8.0f}{density.per_thousand(density.end_comments):8.0f}"
        f"{statistics.median(lengths):8.0f}{max(lengths):8}{documented:8.0f}  {longest}"
    )


def main() -> None:
    """Print the table, and keep it where it is of the whole project."""
    head = (
        f"{'':26}{'code':>7}{'tokens':>8}{'nested':>8}{'comments/1,000':>16}{'function':>9}{'':7}{'docs':>8}\n"
        f"{'room':26}{'lines':>7}{'a line':>8}{'/1,000':>8}{'own':>8}{'at end':>8}{'median':>8}{'longest':>8}{'%':>8}"
    )
    if len(sys.argv) > 1:
        print(head)
        for name in sys.argv[1:]:
            print(row(name, measure(python_files(Path(name)))))
        return

    from benchmarks.report import keep  # imports torch, which this needs for nothing else

    lines = [head]
    for name, files in rooms():
        lines.append(row(name, measure(files)))
    everything: list[Path] = []
    for package in PACKAGES:
        files = python_files(Path(package))
        everything += files
        lines.append(row(f"all of {package}", measure(files)))
    lines.append(row("all", measure(everything)))
    keep("\n".join(lines), "density")


if __name__ == "__main__":
    main()
