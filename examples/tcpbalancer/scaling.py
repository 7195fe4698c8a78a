"""Scale a picture in strips, so that beside it and the result no third one of its size is ever held.

Pillow, asked to do it in one go, copies the whole picture first where that is transparent or has a palette.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

from PIL import Image

STRIP: Final = 1_000_000
"""About how many pixels of the picture there are in a strip."""

_REACH: Final = 3  # how far the Lanczos filter looks, in pixels of the smaller picture
_FINE: Final = 2  # it is given a picture of twice the size wanted at least, as with pillow's own `reducing_gap`

Cut: TypeAlias = Callable[[int, int], Image.Image]


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture in that size: made smaller by whole factors first, which is quick, and then by a good filter."""
    across, down = (max(1, length // (_FINE * wanted)) for length, wanted in zip(image.size, size, strict=True))
    if (across, down) == (1, 1) or image.mode.startswith("I;16"):  # of 16 bits pillow makes no means
        return _filtered(image, size, (image.width, image.height))
    return _filtered(_reduced(image, across, down), size, (image.width / across, image.height / down))


def _reduced(image: Image.Image, across: int, down: int) -> Image.Image:
    def cut(top: int, bottom: int) -> Image.Image:
        return _rows(image, top * down, bottom * down).reduce((across, down))

    size = (math.ceil(image.width / across), math.ceil(image.height / down))
    return _joined(cut, size, image.width * down)


def _filtered(image: Image.Image, size: tuple[int, int], extent: tuple[float, float]) -> Image.Image:
    """Scale what is within the extent, the last pixels of which may count in part."""
    ratio = extent[1] / size[1]
    margin = _REACH * max(ratio, 1) + 1

    def cut(top: int, bottom: int) -> Image.Image:
        above = max(0, math.floor(top * ratio - margin))
        rows = _rows(image, above, math.ceil(bottom * ratio + margin))
        box = (0, top * ratio - above, extent[0], min(bottom * ratio - above, rows.height))
        return rows.resize((size[0], bottom - top), Image.Resampling.LANCZOS, box=box)

    return _joined(cut, size, max(size[0], math.ceil(image.width * ratio)))


def _joined(cut: Cut, size: tuple[int, int], cost: int) -> Image.Image:
    """Put a picture together from strips, of which a row takes so many pixels to make."""
    step = max(1, STRIP // cost)
    first = cut(0, min(step, size[1]))
    whole = Image.new(first.mode, size)
    whole.paste(first)
    for top in range(step, size[1], step):
        whole.paste(cut(top, min(top + step, size[1])), (0, top))
    return whole


def _rows(image: Image.Image, top: int, bottom: int) -> Image.Image:
    """Cut out some rows, in a mode whose pixels can be averaged: no palette, no single bits, no transparent colour."""
    rows = image.crop((0, top, image.width, min(bottom, image.height)))
    if rows.has_transparency_data:
        return rows if rows.mode in ("LA", "RGBA") else rows.convert("RGBA")
    if rows.mode in ("1", "P"):
        return rows.convert("RGB" if rows.mode == "P" else "L")
    return rows
