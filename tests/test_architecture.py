"""The imports of `job` go one way; held by reading its source."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

WORDS = {"_blocks", "_check", "_events", "_exceptions", "_foreign", "_groups", "_policy", "_states", "_verdict"}
ROOMS = {"background", "futures", "instrumentation", "net", "queue", "tasks", "testing"}
TOP = {"__main__", "_cli", "_look", "_target", "admin", "proxy"}

MAY_IMPORT = {
    "words": {"words"},
    "engine": {"words", "engine"},
    "door": {"words", "engine"},
    **{room: {"words", "engine", room} for room in ROOMS},
    # Its network in memory is a transport of net, its queue in memory a source of queue.
    "testing": {"words", "engine", "net", "queue", "testing"},
    "top": {"words", "engine", *ROOMS, "top"},
}

RUNTIME = {"structlog", "trio"}
OPTIONAL = {"PIL", "coredis", "cronsim", "h11", "hypothesis", "msgspec", "prometheus_client", "rich", "uvloop"}
ON_DEMAND = {"job._core.look"}
MAY_DEPEND_ON = {"words": set[str](), "engine": RUNTIME, "door": set[str]()}


class Import(NamedTuple):
    """One import that happens when the program runs; `late` is one inside a function."""

    source: str
    target: str
    line: int
    late: bool


def test_arrows() -> None:
    """Words know nothing, the engine knows words, rooms know the engine but not each other, the top knows all."""
    upwards = [i for i in IMPORTS if is_ours(i.target) and place(i.target) not in MAY_IMPORT[place(i.source)]]
    assert [i for i in upwards if i.target not in ON_DEMAND or not i.late] == []


def test_no_cycles() -> None:
    """No module imports, directly or by way of others, itself."""
    graph: dict[str, set[str]] = {}
    for found in filter(lambda i: is_ours(i.target), IMPORTS):
        graph.setdefault(found.source, set()).add(found.target)
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_inside_functions() -> None:
    """Only what a program may do without is imported when it is needed: a dependency, or what looks into the program."""
    assert [i for i in IMPORTS if i.late and package(i.target) not in OPTIONAL and i.target not in ON_DEMAND] == []


def test_dependencies() -> None:
    """Words stand on the standard library alone, the engine on what every installation has."""
    foreign = [i for i in IMPORTS if not is_ours(i.target) and package(i.target) not in sys.stdlib_module_names]
    allowed = {name: MAY_DEPEND_ON.get(name, RUNTIME | OPTIONAL) for name in MAY_IMPORT}
    assert [i for i in foreign if package(i.target) not in allowed[place(i.source)]] == []


def test_no_absolute_import_of_itself() -> None:
    """From inside, `job` is a relative name: through its own door a module would see a half-made package."""
    found = [(name, ast.unparse(node)) for name, tree in TREES.items() for node in ast.walk(tree) if names_job(node)]
    assert found == []


def test_private_parts_of_trio() -> None:
    """What trio keeps to itself is touched in one module only."""
    private = {
        "_cancel_status",
        "_activate_cancel_status",
        "_runner",
        "_parent_nursery",
        "_schedule_points",
        "_cancel_points",
    }
    users = {name for name, tree in TREES.items() for node in ast.walk(tree) if is_attribute(node, private)}
    assert users == {"job._core.trio.scopes"}


def is_attribute(node: ast.AST, names: set[str]) -> bool:
    """Whether this piece of code reads, calls or writes an attribute of such a name."""
    return isinstance(node, ast.Attribute) and node.attr in names


def place(module: str) -> str:
    """Return the floor of a module, or its room."""
    head = [*module.split("."), ""][1]
    floors = {"": "door", "log": "engine"} | dict.fromkeys(WORDS, "words") | dict.fromkeys(TOP, "top")
    if head in ROOMS:
        return head
    return floors.get(head) or ("engine" if head.startswith("_") else f"{module} has no place in the architecture")


def package(module: str) -> str:
    """Return the top-level package of a module."""
    return module.partition(".")[0]


def is_ours(module: str) -> bool:
    """Tell the modules of `job` from all others."""
    return package(module) == "job"


def names_job(node: ast.AST) -> bool:
    """Find `import job`, `import job.x` and `from job import x`, also where they are for the type checker only."""
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and is_ours(node.module or "")
    return isinstance(node, ast.Import) and any(is_ours(alias.name) for alias in node.names)


def module_name(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(tree: ast.AST, *, late: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Find the imports that happen at run time, and whether only when a function is called."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, late
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements(ast.Module(node.orelse, []), late=late)
        else:
            yield from statements(node, late=late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def targets(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[str]:
    """Name the modules that a statement imports: `from . import x` is the module x, if there is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = resolve_name("." * node.level + (node.module or ""), module_name(path.parent / "__init__.py"))
    yield from {inner if (inner := f"{base}.{alias.name}") in TREES else base for alias in node.names}


SOURCES = {module_name(path): path for path in sorted((ROOT / "job").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}
IMPORTS = [
    Import(name, target, node.lineno, late)
    for name, tree in TREES.items()
    for node, late in statements(tree)
    for target in targets(node, SOURCES[name])
]
