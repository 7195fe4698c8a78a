"""The imports of `job` go one way, and what is private stays so; held by reading its source."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


FLOORS = {
    "words": "job._core.check job._core.words",
    "tools": "job._core.trio",
    "log": "job.log job._core.last_resort",
    "parts": (
        "job._core.announce job._core.context job._core.door job._core.family job._core.forms "
        "job._core.idle_clock job._core.observers job._core.outcome job._core.plan job._core.registry job._core.report "
        "job._core.retry job._core.steps job._core.task job._core.waiters"
    ),
    "run": "job._core.run",
    "core": (
        "job._core.block job._core.border job._core.ending job._core.inside job._core.job "
        "job._core.start job._core.work"
    ),
    "background": "job.background",
    "futures": "job.futures",
    "instrumentation": "job.instrumentation",
    "net": "job.net",
    "queue": "job.queue",
    "tasks": "job.tasks",
    "testing": "job.testing",
    "commands": "job._program.cli job._program.queue_commands job.__main__",
    "program": "job._program",
    "programs": "job.admin job.proxy",
}
"""Each floor and its files and folders. A file in none of them has no place: put it on a floor, here and in the docs."""

ENGINE = ["words", "tools", "log", "parts", "run", "core"]
ROOMS = ["background", "futures", "instrumentation", "net", "queue", "tasks", "testing"]

MAY_IMPORT = {
    "words": {"words"},
    "tools": {"words", "tools"},
    "log": {"words", "log"},
    "parts": {"words", "tools", "log", "parts"},
    "run": {"words", "tools", "log", "parts", "run"},
    "core": set(ENGINE),
    **{room: {*ENGINE, room} for room in ROOMS},
    "testing": {*ENGINE, "net", "queue", "testing"},  # its network in memory is a transport of net, its queue a source
    "program": {*ENGINE, "instrumentation", "program"},  # what a program shows of itself on a signal
    "commands": {*ENGINE, *ROOMS, "program", "programs", "commands"},
    "programs": {*ENGINE, *ROOMS, "program", "programs"},
    "door": {*ENGINE, "program"},
}

RUNTIME = {"structlog", "trio"}
OPTIONAL = {"PIL", "anyio", "coredis", "cronsim", "h11", "hypothesis", "msgspec", "prometheus_client", "rich", "uvloop"}
MAY_DEPEND_ON = {"words": set[str](), "door": set[str](), **dict.fromkeys(ENGINE[1:], RUNTIME)}

ON_DEMAND = {
    ("job._program.run", "job._program.look"),
    ("job._program.run", "job.admin._windows"),
    ("job._program.cli", "job.admin._windows"),
    ("job._program.cli", "job.admin._commands"),
    ("job.admin._commands", "job.admin._top"),  # which needs rich
}
"""What a program loads where it is asked to: it can do without."""

FOLDERS = [
    "job._core",
    "job._program",
    *(f"job.net.{name}" for name in ("_endpoints", "_relays", "_streams", "balancer")),
]
"""Borders besides those of the rooms: what has an underscore in one of these is for that folder alone."""

NET = {
    "job.net": set[str](),  # the files beside the folders; the door itself, __init__, imports them all
    "job.net._streams": set[str](),
    "job.net._relays": {"job.net._streams"},
    "job.net._endpoints": {"job.net._streams"},
    "job.net.balancer": {"job.net._endpoints", "job.net._streams"},
}
"""The folders of net, and which of the other folders each may import."""

LOOK_BACK = {
    "job._core.job": (
        "block context family forms outcome registry report run.failures run.held_signals run.lifecycle run.stop "
        "run.teardown start task waiters words.events"
    ),
    "job._core.task": "forms words.events words.records",
}
"""Of the core, what knows a module above it by name, for the type checker alone: the parts of a job, and the records of it."""

BACK_REFERENCES = {
    *((f"job._core.{source}", target) for target, sources in LOOK_BACK.items() for source in sources.split()),
    ("job.net._streams.stream", "job.net._endpoints.endpoint"),
    ("job.queue._message", "job.queue._source"),
}
"""The imports for the type checker without which there would be no circle, each with its source and its target."""


class Import(NamedTuple):
    """One import; `late` is one inside a function, `typing` one for the type checker alone."""

    source: str
    target: str
    line: int
    late: bool
    typing: bool


def test_places() -> None:
    """Each file has a place on a floor, and each place has a file."""
    assert [module for module in TREES if floor(module) is None] == []
    empty = {place for place in PLACES if not any(within(module, place) for module in TREES)}
    assert empty <= {"job.instrumentation", "job.queue", "job.admin", "job.proxy"}


def test_arrows() -> None:
    """Words know nothing, each floor knows those below it, rooms know the engine but not each other, programs know all."""
    ours = [i for i in IMPORTS if is_ours(i.target) and not i.typing]
    assert ours
    upwards = [i for i in ours if floor(i.target) not in MAY_IMPORT[str(floor(i.source))]]
    assert [i for i in upwards if not i.late or (i.source, i.target) not in ON_DEMAND] == []


def test_arrows_of_net() -> None:
    """Imports between the folders of net go one way, too."""
    found = {(border(i.source), border(i.target)) for i in IMPORTS if not i.typing and i.source != "job.net"}
    across = {(source, target) for source, target in found if source in NET and target in NET and source != target}
    assert {(source, target) for source, target in across if target != "job.net" and target not in NET[source]} == set()


def test_circles() -> None:
    """No module imports itself by way of others; for the type checker only the named ones look back, and all of these do."""
    typing = {(i.source, i.target) for i in IMPORTS if i.typing}
    forward = [i for i in IMPORTS if (i.source, i.target) not in BACK_REFERENCES]
    assert circles([i for i in IMPORTS if not i.typing]) == []
    assert circles(forward) == []
    assert typing >= BACK_REFERENCES


def test_border() -> None:
    """Nothing with an underscore is used outside of the package that it belongs to."""
    assert list(reaches()) == []


def test_imports_inside_functions() -> None:
    """Only an optional dependency is imported when it is needed, and what a program shows of itself where it is asked for."""
    late = [i for i in IMPORTS if i.late and package(i.target) not in OPTIONAL]
    assert {(i.source, i.target) for i in late} <= ON_DEMAND


def test_dependencies() -> None:
    """Words stand on the standard library alone, the engine on what every installation has."""
    run_time = [i for i in IMPORTS if not i.typing]
    foreign = [i for i in run_time if not is_ours(i.target) and package(i.target) not in sys.stdlib_module_names]
    allowed = {name: MAY_DEPEND_ON.get(name, RUNTIME | OPTIONAL) for name in MAY_IMPORT}
    assert [i for i in foreign if package(i.target) not in allowed[str(floor(i.source))]] == []


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


@pytest.mark.parametrize("package", ["job._core", "job._core.words", "job._core.trio", "job._core.run", "job._program"])
def test_private_packages_import_nothing(package: str) -> None:
    """What holds a private folder together costs nothing to import, and so makes no circles."""
    assert [i for i in IMPORTS if i.source == package] == []


def within(module: str, place: str) -> bool:
    """Whether a module is this one, or in this package."""
    return module == place or module.startswith(f"{place}.")


def floor(module: str) -> str | None:
    """Return the floor of a module; None where it has no place."""
    if module == "job":
        return "door"
    if module == "job._core":  # holds the floors, and nothing itself
        return "words"
    return next((PLACES[place] for place in PLACES if within(module, place)), None)


def border(module: str) -> str:
    """Return the package whose private parts a module may use."""
    inner = "job._core" if module == "job.log" else next((folder for folder in FOLDERS if within(module, folder)), None)
    return inner or ".".join(module.split(".")[:2])


def package(module: str) -> str:
    """Return the top-level package of a module."""
    return module.partition(".")[0]


def is_ours(module: str) -> bool:
    """Tell the modules of `job` from all others."""
    return package(module) == "job"


def reaches() -> Iterator[tuple[str, str]]:
    """Give module and name of each access to a private attribute that only classes of other packages have."""
    owners = private_attributes()
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value):
                borders = {border(owner) for owner in owners.get(node.attr, ())}
                if borders and border(module) not in borders:
                    yield module, node.attr


def private_attributes() -> Mapping[str, set[str]]:
    """Map each private attribute and method to the modules whose classes define it."""
    owners = defaultdict(set)
    for module, tree in TREES.items():
        for definition in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for name in defined_by(definition):
                owners[name].add(module)
    return owners


def defined_by(definition: ast.ClassDef) -> Iterator[str]:
    """Give the names of the attributes that a class has, in its body or by `self.x = …`."""
    for node in ast.walk(definition):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_private(name: str) -> bool:
    """Whether a name has one underscore before it; what a NamedTuple has is public all the same."""
    return bool(re.match(r"_[a-z]", name)) and name not in {"_fields", "_replace", "_asdict"}


def is_self(node: ast.expr) -> bool:
    """Whether this is the object that the code belongs to."""
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def is_attribute(node: ast.AST, names: set[str]) -> bool:
    """Whether this piece of code reads, calls or writes an attribute of such a name."""
    return isinstance(node, ast.Attribute) and node.attr in names


def circles(imports: list[Import]) -> list[list[str]]:
    """Return the sets of modules that import each other, directly or by way of others."""
    graph: dict[str, set[str]] = {module: set() for module in TREES}
    for found in imports:
        if is_ours(found.target) and found.target != found.source:
            graph[found.source].add(found.target)
    reach = {module: reachable(graph, module) for module in graph}
    sets = {frozenset({other for other in reach[m] if m in reach[other]}) for m in graph if m in reach[m]}
    return sorted(map(sorted, sets))


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Return all modules that one imports, by way of others too."""
    seen: set[str] = set()
    rest = [start]
    while rest:
        new = graph[rest.pop()] - seen
        seen |= new
        rest += new
    return seen


def names_job(node: ast.AST) -> bool:
    """Find `import job`, `import job.x` and `from job import x`, also where they are for the type checker only."""
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and is_ours(node.module or "")
    return isinstance(node, ast.Import) and any(is_ours(alias.name) for alias in node.names)


def module_name(path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(
    tree: ast.AST, *, late: bool = False, typing: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """Find the imports, whether they happen only when a function is called, and whether for the type checker only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, late, typing
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from statements(ast.Module(node.body, []), late=late, typing=True)
            yield from statements(ast.Module(node.orelse, []), late=late, typing=typing)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from statements(node, late=late or inside, typing=typing)


def targets(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[str]:
    """Name the modules that a statement imports: `from . import x` is the module x, if there is one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = resolve_name("." * node.level + (node.module or ""), module_name(path.parent / "__init__.py"))
    yield from {inner if (inner := f"{base}.{alias.name}") in TREES else base for alias in node.names}


PLACES = {place: name for name, places in FLOORS.items() for place in places.split()}
SOURCES = {module_name(path): path for path in sorted((ROOT / "job").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}
IMPORTS = [
    Import(name, target, node.lineno, late, typing)
    for name, tree in TREES.items()
    for node, late, typing in statements(tree)
    for target in targets(node, SOURCES[name])
]
