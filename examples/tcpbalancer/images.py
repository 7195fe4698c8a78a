"""Pictures: the part that knows pillow, and neither jobs nor sockets. Plain functions, to be called in threads."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from .scaling import scaled

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
MOST_PIXELS: Final = 40_000_000
"""The most pixels that a picture may have together with what it becomes: four bytes each, while it is worked on."""

_ORIENTATION: Final = 0x0112  # the EXIF tag
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE: Final = (5, 6, 7, 8)  # what is beyond has no meaning, and cameras do write it
_SIDEWAYS: Final = frozenset(_TURNS[number] for number in _ON_ITS_SIDE)
_SCAN: Final = b"\xff\xda"  # JPEG's marker; it does not occur within a scan

# Pillow only warns of a picture that would unpack to hundreds of megabytes; a server refuses it.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# A large picture comes in large blocks. The C library gives those back to the system; smaller ones it keeps, for each thread.
Image.core.set_block_size(64 * 2**20)  # type: ignore[attr-defined]


class BadImageError(ValueError):
    """These bytes are no picture that we can read; the message says why."""


def pixels(data: bytes, width: int, height: int) -> int:
    """Return how many pixels are held, four bytes each, while the picture is fitted into `width` x `height`.

    Raises:
        BadImageError: it is no JPEG or PNG, or there would be more than `MOST_PIXELS`.
    """
    with _opened(data) as image:
        return _prepared(image, data, (width, height))


def resize(data: bytes, width: int, height: int, *, most: int = sys.maxsize) -> bytes:
    """Return the picture fitted into `width` x `height`, in the format that it came in.

    Raises:
        BadImageError: it is no JPEG or PNG, or a broken one, or too large, or the result is longer than `most` bytes.
    """
    with _opened(data) as image:
        form, profile = format_of(image), image.info.get("icc_profile")
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        size = fitted_size(upright_size(image), (width, height))
        _prepared(image, data, (width, height))
        small = _turned(image, size, turn)
    out = _Bounded(most)
    try:
        small.save(out, form, quality=85, icc_profile=profile)
    except OverflowError as error:
        raise BadImageError(f"resized, it is longer than {most // 2**20} MiB") from error
    return out.getvalue()


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


class _Bounded(io.BytesIO):
    """A file in memory that takes so many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self._most:
            raise OverflowError
        return super().write(data)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            yield image
    except UnidentifiedImageError as error:
        raise BadImageError("it is no JPEG or PNG image") from error
    except Exception as error:  # a broken file can raise nearly anything in pillow, SyntaxError and struct.error too
        raise BadImageError(f"it cannot be read as an image: {error}") from error


def _prepared(image: Image.Image, data: bytes, box: tuple[int, int]) -> int:
    """Return what it takes to fit the picture into the box, in pixels, and let the decoder save what it can.

    Whether it lies on its side is left open: to look for that in a PNG is to unpack it.
    """
    coefficients = _coefficients(image, data)
    sizes = [fitted_size(image.size, box), fitted_size(image.size[::-1], box)]
    after = max(map(_area, sizes))
    if max(_area(image.size), coefficients) + after > MOST_PIXELS:
        raise ValueError(f"it takes more than {MOST_PIXELS // 10**6} megapixels, before and after together")
    # Most of a large JPEG need not be decoded; twice the size wanted is enough for a good picture.
    longest = 2 * max(map(max, sizes))
    image.draft(None, (longest, longest))
    return max(_area(image.size), coefficients) + after


def _coefficients(image: Image.Image, data: bytes) -> int:
    """Return what the decoder of a JPEG in several scans holds until the last one: two bytes a sample, counted in pixels.

    An ordinary JPEG has a single scan, with all its components, and none of that.
    """
    if not isinstance(image, JpegImageFile):
        return 0
    if data.count(_SCAN) == 1 and data[data.find(_SCAN) + 4] == len(image.layer) and "progressive" not in image.info:
        return 0
    areas = [across * down for _, across, down, _ in image.layer]
    return _area(image.size) * sum(areas) // max(areas) // 2


def _turned(image: Image.Image, size: tuple[int, int], turn: Image.Transpose | None) -> Image.Image:
    """Return the picture in its size, turned while it is at its smallest."""
    if turn is None:
        return scaled(image, size)
    if _area(image.size) <= _area(size):
        return scaled(image.transpose(turn), size)
    return scaled(image, size[::-1] if turn in _SIDEWAYS else size).transpose(turn)


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
