"""Look into groups of errors, however deep: nested nurseries make nested groups."""

from __future__ import annotations

from collections.abc import Iterator

from .user_code import is_instance


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group in their order; an error that is not a group is its own only leaf.

    It does not recurse, so no depth is too deep. It visits each group once, because groups that contain each other several
    times over would take exponential time.
    """
    seen: set[int] = set()
    rest = [error]
    while rest:
        each = rest.pop()
        if not isinstance(each, BaseExceptionGroup):
            yield each
        elif id(each) not in seen:
            seen.add(id(each))
            rest.extend(reversed(each.exceptions))


def holds_for(types: type[BaseException] | tuple[type[BaseException], ...], error: BaseException) -> bool:
    """Return True if an error is of one of these types, or a group all of whose leaves are."""
    if is_instance(error, types):
        return True
    return isinstance(error, BaseExceptionGroup) and all(is_instance(leaf, types) for leaf in leaves(error))
