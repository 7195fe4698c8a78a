"""What is in a group of errors, however deep: nurseries inside of each other make groups of groups."""

from __future__ import annotations

from collections.abc import Iterator

from .user_code import is_instance


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Give the errors in a group, each group once, in their order; an error that is no group is a leaf by itself.

    Without recursion, so that no depth is too deep; each group once, as one that is in others twice over is a bomb.
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
    """Whether an error is of one of these types, or a group all of whose leaves are."""
    if is_instance(error, types):
        return True
    return isinstance(error, BaseExceptionGroup) and all(is_instance(leaf, types) for leaf in leaves(error))
