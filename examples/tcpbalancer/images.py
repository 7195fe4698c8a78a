"""Pictures: the part that knows pillow, and neither jobs nor sockets. Plain functions, to be called in threads."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})

_ORIENTATION: Final = 0x0112  # the EXIF tag
_ON_ITS_SIDE: Final = (5, 6, 7, 8)  # what is beyond has no meaning, and cameras do write it

# Pillow only warns of a picture that would unpack to a few hundred megabytes; a server refuses it.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class BadImageError(ValueError):
    """These bytes are no picture that we can read; the message says why."""


def resize(data: bytes, width: int, height: int) -> bytes:
    """Return the picture fitted into `width` x `height`, in the format that it came in.

    Raises:
        BadImageError: it is no JPEG or PNG, or a broken one.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return _resize(image, (width, height))
    except UnidentifiedImageError as error:
        raise BadImageError("it is no JPEG or PNG image") from error
    except (
        Exception
    ) as error:  # a broken file can raise nearly anything in pillow, SyntaxError and struct.error included
        raise BadImageError(f"it cannot be read as an image: {error}") from error


def fitted_size(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size with the proportions of `size` that fits into `box`: it reaches one side of it at least."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the size that the picture has once it is turned as its EXIF data say."""
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE else (width, height)


def format_of(image: Image.Image) -> str:
    """Return "JPEG" or "PNG". The pictures of many telephones are MPO: a JPEG with further ones behind it."""
    return "PNG" if image.format == "PNG" else "JPEG"


def find(folder: Path) -> list[Path]:
    """Return the JPEG and PNG files of a folder by name, not those of the folders in it.

    Raises:
        OSError: it cannot be listed.
    """
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def output_name(source: Path, box: tuple[int, int], turn: int) -> str:
    """Return the name to save a resized picture by; the second time and later have a number of their own."""
    number = f"-{turn}" if turn > 1 else ""
    return f"{source.stem}-{box[0]}x{box[1]}{number}{source.suffix}"


def _resize(image: Image.Image, box: tuple[int, int]) -> bytes:
    form = format_of(image)
    profile = image.info.get("icc_profile")
    size = fitted_size(upright_size(image), box)
    # A JPEG decoder can leave out most of a large picture; twice the size wanted is enough for a good one.
    image.draft(None, (2 * max(size), 2 * max(size)))
    small = _smooth(ImageOps.exif_transpose(image)).resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, form, quality=85, icc_profile=profile)
    return out.getvalue()


def _smooth(image: Image.Image) -> Image.Image:
    """Return the picture in a mode whose pixels can be averaged: no palette, no single bits, no transparent colour."""
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    if image.mode in ("1", "P"):
        return image.convert("RGB" if image.mode == "P" else "L")
    return image
