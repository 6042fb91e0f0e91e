"""Names are imported from where they are defined, so that one search finds all who use them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def module_of(path: Path, root: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Each module that names are imported from, the name there, and here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield node.module, alias.name, alias.asname or alias.name


def find_passed_on(root: Path, readers: list[Path]) -> set[tuple[str, str]]:
    """Names of modules below the root that readers import from a module which has only imported them itself."""
    trees = {module_of(path, root): ast.parse(path.read_text()) for path in root.rglob("*.py")}
    borrowed = {module: {own for _, _, own in imported(tree)} for module, tree in trees.items()}
    return {
        (module, name)
        for path in readers
        for module, name, _ in imported(ast.parse(path.read_text()))
        if name in borrowed.get(module, ())
    }


def test_names_are_imported_from_where_they_are_defined() -> None:
    readers = [
        path
        for folder in ("src", "tests", "benchmarks", "tools")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert find_passed_on(ROOT / "src", readers) == set()


def test_a_name_that_is_passed_on_is_found(tmp_path: Path) -> None:
    package = tmp_path / "shelf"
    package.mkdir()
    (package / "books.py").write_text("class Book: ...\n")
    (package / "readers.py").write_text("from shelf.books import Book\n")
    asking = package / "asking.py"
    asking.write_text("from shelf.readers import Book\n")
    assert find_passed_on(tmp_path, [asking]) == {("shelf.readers", "Book")}
