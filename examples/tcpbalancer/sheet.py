"""After the demo: is every picture right, and a contact sheet of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from . import images

CELL: Final = 120
GAP: Final = 8
BACKGROUND: Final = "#202428"


def faults(sources: Iterable[Path], output: Path, box: tuple[int, int], times: int) -> list[str]:
    """Return a line for each resized picture that is missing or not as it should be."""
    found: list[str] = []
    for source in sources:
        for turn in range(1, times + 1):
            path = output / images.output_name(source, box, turn)
            fault = _fault(source, path, box)
            if fault:
                found.append(f"{path}: {fault}")
    return found


def contact_sheet(pictures: Sequence[Path]) -> Image.Image:
    """Return one picture that shows all of them, about half as wide again as high; those that cannot be read are left out."""
    columns = max(1, math.ceil(math.sqrt(len(pictures) * 1.5)))
    rows = max(1, math.ceil(len(pictures) / columns))
    step = CELL + GAP
    sheet = Image.new("RGB", (columns * step + GAP, rows * step + GAP), BACKGROUND)
    for number, path in enumerate(pictures):
        row, column = divmod(number, columns)
        with Image.open(path) as image:
            small = ImageOps.contain(image.convert("RGB"), (CELL, CELL))
        corner = (column * step + GAP + (CELL - small.width) // 2, row * step + GAP + (CELL - small.height) // 2)
        sheet.paste(small, corner)
    return sheet


def _fault(source: Path, path: Path, box: tuple[int, int]) -> str | None:
    try:
        with Image.open(path) as after, Image.open(source) as before:
            after.load()
            size, form = images.fitted_size(images.upright_size(before), box), images.format_of(before)
            if after.size != size:
                return f"is {after.size[0]}x{after.size[1]} pixels instead of {size[0]}x{size[1]}"
            return None if after.format == form else f"is {after.format} instead of {form}"
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
