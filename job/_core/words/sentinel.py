"""Defaults that stand for something no caller can write down."""

from __future__ import annotations

from typing import final


@final
class Sentinel:
    """An object that is equal to nothing but itself, and that says in a signature what it stands for.

    Args:
        text: what it stands for: `Sentinel("unset")` is shown as `<unset>`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"<{self._text}>"
