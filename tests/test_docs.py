"""README and docs: their code runs, their links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]

PYTHON_FENCE = re.compile(r"^[\s>]*(?:```+|~~~+)\s*py", re.MULTILINE | re.IGNORECASE)
FENCED = re.compile(r"^ *(```+|~~~+).*?^ *\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)[^)]*\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


@every_page
def test_code(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ```python blocks of a page run as one program, from top to bottom, in an empty folder."""
    document = Document.parse(str(page), PythonCodeBlockParser())
    program = ModuleType("__main__")
    document.namespace = vars(program)
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.chdir(tmp_path)
    for example in document.examples():
        example.evaluate()


@every_page
def test_no_code_is_passed_over(page: Path) -> None:
    """Python is fenced as ```python and in no other spelling, which would not be run."""
    run = list(Document.parse(str(page), PythonCodeBlockParser()).examples())
    assert len(run) == len(PYTHON_FENCE.findall(page.read_text()))


@every_page
def test_links(page: Path) -> None:
    """Each relative link leads to a file, and to a heading of it where it names one."""
    assert [link for link in links(page) if not resolves(page, *link)] == []


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Give target and anchor of each link to a place in the project."""
    yield from LINK.findall(FENCED.sub("", page.read_text()))


def resolves(page: Path, target: str, anchor: str) -> bool:
    """Look for the file, and in it for the heading."""
    file = page.parent / target if target else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(page: Path) -> set[str]:
    """Name the headings of a page the way that GitHub does."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_types(tmp_path: Path) -> None:
    """The program of each page passes mypy, strictly: what is copied is typed as it stands."""
    for page in PAGES:
        examples = Document.parse(str(page), PythonCodeBlockParser()).examples()
        name = re.sub(r"\W", "_", page.relative_to(ROOT).as_posix())
        (tmp_path / f"{name}.py").write_text("\n".join(str(example.parsed) for example in examples))
    cache = ROOT / ".mypy_cache" / "docs"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", str(tmp_path)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.stdout.startswith("Success"), checked.stdout
