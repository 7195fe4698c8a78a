"""The sentences of the code name their subjects: software has callers, tasks, peers and readers."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RIDDLES = re.compile(r"\b(whoever|nobody|somebody|everybody|of which|(to|by) whom)\b", re.IGNORECASE)

TO_BE_REWRITTEN: tuple[str, ...] = ()
"""What has such sentences still. To be brought down to nothing."""

FILES = [
    path
    for path in sorted((ROOT / "job").rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(TO_BE_REWRITTEN)
]

every_file = pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])


@every_file
def test_subjects(path: Path) -> None:
    """No docstring and no comment speaks of whoever, nobody or somebody."""
    assert [text for text in sentences(path) if RIDDLES.search(text)] == []


@every_file
def test_docstrings_say_what_is_returned(path: Path) -> None:
    """A docstring says `Return True if …`, not `Whether …`."""
    assert [text for text in docstrings(path) if text.startswith("Whether ")] == []


def sentences(path: Path) -> Iterator[str]:
    """Yield the docstrings and the comments of a file."""
    yield from docstrings(path)
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def docstrings(path: Path) -> Iterator[str]:
    """Yield the docstrings of a file, those below a variable included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
