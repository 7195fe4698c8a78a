"""The public signatures as text, made from the code: `python -m tests.signatures` writes them to signatures.txt beside this."""

import importlib
import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any

DOORS = (
    "job",
    "job.admin",
    "job.background",
    "job.futures",
    "job.instrumentation",
    "job.net",
    "job.net.balancer",
    "job.net.frames",
    "job.queue",
    "job.tasks",
    "job.testing",
    "job.testing.strategies",
)
"""The modules from which users import."""

GOLDEN = Path(__file__).with_suffix(".txt")


class AsWritten(str):
    """A text that a signature shows without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def surface() -> str:
    """Return one line for each public function, class, method, property and member."""
    return "".join(f"{line}\n" for door in DOORS for line in lines_of_door(door))


def lines_of_door(door: str) -> Iterator[str]:
    """Describe what a door shows, in the order of its `__all__`."""
    module = importlib.import_module(door)
    yield f"# {door}"
    for name in module.__all__:
        yield from lines_of(name, getattr(module, name))
    yield ""


def lines_of(name: str, value: object) -> Iterator[str]:
    """Describe one name, and the public members that a class defines itself."""
    if isinstance(value, FunctionType):
        yield called(name, value)
    elif not inspect.isclass(value):
        yield f"{name} = {value!r}" if isinstance(value, int | float | str) else name
    elif issubclass(value, Enum):
        yield f"{name}: {' '.join(value.__members__)}"
    else:
        yield name if is_protocol(value) else called(name, value)
        for inner, member in sorted(vars(value).items()):
            if not inner.startswith("_") or inner == "__call__":
                yield from member_lines(f"{name}.{inner}", member)


def member_lines(name: str, member: object) -> Iterator[str]:
    """Describe a method or a property; the fields of a record are in its signature."""
    if isinstance(member, property):
        kind = "read, write" if member.fset else "read"
        yield f"{name}: {as_written(inspect.signature(member.fget).return_annotation)} ({kind})"  # type: ignore[arg-type]
    elif isinstance(member, staticmethod | classmethod):
        yield called(name, member.__func__)
    elif isinstance(member, FunctionType):
        yield called(name, member)


def called(name: str, value: Any) -> str:
    """Return how a name is called, with defaults and annotations as the source has them."""
    try:
        found = inspect.signature(value)
    except ValueError:  # an exception that leaves its arguments to BaseException
        return name
    parameters = [
        each.replace(annotation=as_written(each.annotation), default=default_of(each.default))
        for each in found.parameters.values()
    ]
    text = str(found.replace(parameters=parameters, return_annotation=as_written(found.return_annotation)))
    return f"{'await ' if inspect.iscoroutinefunction(value) else ''}{name}{text}"


def as_written(annotation: Any) -> Any:
    """Return an annotation so that it is shown without quotes."""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    return AsWritten(annotation) if isinstance(annotation, str) else annotation


def default_of(default: Any) -> Any:
    """Return a default so that it is shown by its name, where it has one, and not by its address."""
    if isinstance(default, Enum):
        return AsWritten(default)
    name = None if default is inspect.Parameter.empty else getattr(default, "__name__", None)
    return default if name is None else AsWritten(name)


def is_protocol(value: type) -> bool:
    """Return whether a class is there to be implemented, not to be called."""
    return getattr(value, "_is_protocol", False)


if __name__ == "__main__":
    GOLDEN.write_text(surface())
