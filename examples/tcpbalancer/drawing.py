"""Pictures for the demo, where nobody brings any: drawn by chance, the same ones every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

COUNT: Final = 60

_SIZES: Final = ((1280, 853), (853, 1280), (1024, 1024), (640, 480), (1600, 500), (420, 900), (150, 110))


def draw_pictures(folder: Path) -> None:
    """Draw pictures of many sizes, as JPEG and PNG, into the folder."""
    random = Random("the image balancer")
    motifs: list[Callable[[Random, Image.Image], None]] = [_hills, _bubbles, _rays, _tiles]
    for number in range(COUNT):
        motif = motifs[number % len(motifs)]
        image = _sky(random, random.choice(_SIZES))
        motif(random, image)
        name = f"{motif.__name__.strip('_')}-{number:02}"
        if number % 3 == 2:
            image.quantize(128, Image.Quantize.FASTOCTREE).save(folder / f"{name}.png")
        else:
            image.save(folder / f"{name}.jpg", quality=88)


def _colour(random: Random, lightness: int = 60) -> str:
    return f"hsl({random.randrange(360)}, {random.randrange(55, 95)}%, {lightness}%)"


def _sky(random: Random, size: tuple[int, int]) -> Image.Image:
    """Return a soft gradient between two colours."""
    mask = Image.linear_gradient("L").rotate(random.choice((0, 90, 180))).resize(size)
    upper, lower = (Image.new("RGB", size, _colour(random, lightness)) for lightness in (35, 80))
    return Image.composite(upper, lower, mask)


def _hills(random: Random, image: Image.Image) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for layer in range(1, 5):
        points = [(width * x / 8, height * (0.3 + 0.15 * layer - random.random() * 0.2)) for x in range(9)]
        draw.polygon([(0, height), *points, (width, height)], fill=_colour(random, 60 - 10 * layer))


def _bubbles(random: Random, image: Image.Image) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        x, y, radius = random.random() * width, random.random() * height, random.random() ** 2 * width / 5 + 4
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(random), outline="white", width=3)
    image.paste(image.filter(ImageFilter.GaussianBlur(1)))


def _rays(random: Random, image: Image.Image) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    reach = width + height
    centre = (width * random.random() - reach, height * random.random() - reach)
    box = (*centre, centre[0] + 2 * reach, centre[1] + 2 * reach)
    for angle in range(0, 360, 15):
        draw.pieslice(box, angle, angle + 7, fill=_colour(random, 65))


def _tiles(random: Random, image: Image.Image) -> None:
    width, height = image.size
    draw = ImageDraw.Draw(image)
    side = max(width, height) // random.randrange(5, 12)
    for x in range(0, width, side):
        for y in range(0, height, side):
            if random.random() < 0.6:
                draw.rounded_rectangle((x + 3, y + 3, x + side - 3, y + side - 3), side // 5, fill=_colour(random))
