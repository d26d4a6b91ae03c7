"""The pictures of the demo shop: a product silhouette in a colour and a pattern, on a light background with a soft shadow."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 128
SCALE = 3
COLOURS: dict[str, tuple[float, float, float]] = {  # hue, saturation, value
    "red": (0.99, 0.80, 0.80),
    "mustard": (0.12, 0.80, 0.90),
    "green": (0.38, 0.62, 0.56),
    "blue": (0.59, 0.72, 0.78),
    "purple": (0.78, 0.52, 0.62),
    "charcoal": (0.60, 0.10, 0.25),
}
PATTERNS = ("plain", "stripes", "dots", "checks")

Points = list[tuple[float, float]]


def _arc(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0, power: float = 1.0) -> Points:
    """Points on an arc of an ellipse, in degrees, clockwise on the screen. A `power` below 1 makes it squarer."""
    angles = np.radians(np.linspace(start, end, 40))
    c, s = np.cos(angles), np.sin(angles)
    x, y = cx + rx * np.sign(c) * np.abs(c) ** power, cy + ry * np.sign(s) * np.abs(s) ** power
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _mirror(half: Points) -> Points:
    """The closed outline whose right half is given, from the top middle to the bottom middle."""
    return half + [(1.0 - x, y) for x, y in reversed(half)]


def _pillow() -> Points:
    """A square with slightly pulled-out corners."""
    side = [(t, 0.2 - 0.035 * abs((t - 0.5) / 0.33) ** 4) for t in np.linspace(0.165, 0.835, 20).tolist()]
    right = [(1 - y, x) for x, y in side]
    return side + right + [(1 - x, 1 - y) for x, y in side] + [(1 - x, 1 - y) for x, y in right]


_TEE = [(0.5, 0.25), (0.55, 0.24), (0.6, 0.17), (0.7, 0.2), (0.95, 0.38), (0.85, 0.52), (0.73, 0.43), (0.735, 0.87), (0.5, 0.88)]
_DRESS = [(0.5, 0.29), (0.56, 0.26), (0.595, 0.1), (0.64, 0.1), (0.645, 0.24), (0.68, 0.34), (0.615, 0.5), (0.83, 0.88),
          (0.67, 0.915), (0.5, 0.92)]  # fmt: skip
_PACK = _arc(0.5, 0.54, 0.27, 0.38, -90, 90, 0.55)
_CUP = [(0.24, 0.27), (0.68, 0.27), (0.66, 0.74), (0.62, 0.82), (0.53, 0.85), (0.39, 0.85), (0.3, 0.82), (0.26, 0.74)]

# Each shape: parts of the silhouette and darker details on it, as (points, line width); width 0 is a filled polygon.
Part = tuple[Points, float]
SHAPES: dict[str, tuple[list[Part], list[Part]]] = {
    "tee": (
        [(_mirror(_TEE), 0)],
        [
            (_arc(0.5, 0.16, 0.125, 0.125, 12, 168), 0.016),
            ([(0.27, 0.45), (0.305, 0.24)], 0.008),
            ([(0.73, 0.45), (0.695, 0.24)], 0.008),
            ([(0.27, 0.83), (0.73, 0.83)], 0.008),
        ],
    ),
    "dress": (
        [(_mirror(_DRESS), 0)],
        [
            ([(0.385, 0.5), (0.615, 0.5)], 0.022),
            ([(0.45, 0.54), (0.36, 0.89)], 0.007),
            ([(0.55, 0.54), (0.64, 0.89)], 0.007),
        ],
    ),
    "tote": (
        [([(0.2, 0.4), (0.8, 0.4), (0.84, 0.89), (0.16, 0.89)], 0), (_arc(0.5, 0.42, 0.17, 0.31, 180, 360), 0.045)],
        [
            ([(0.2, 0.46), (0.8, 0.46)], 0.008),
            ([(0.33, 0.42), (0.33, 0.5)], 0.05),
            ([(0.67, 0.42), (0.67, 0.5)], 0.05),
        ],
    ),
    "backpack": (
        [
            (_mirror(_PACK), 0),
            (_arc(0.5, 0.17, 0.085, 0.1, 180, 360), 0.04),
            (_arc(0.25, 0.62, 0.08, 0.2, 90, 270), 0.045),
            (_arc(0.75, 0.62, 0.08, 0.2, -90, 90), 0.045),
        ],
        [
            (_arc(0.5, 0.72, 0.19, 0.14, 0, 360, 0.4), 0.012),
            ([(0.31, 0.66), (0.69, 0.66)], 0.014),
            (_arc(0.5, 0.5, 0.22, 0.24, 200, 340, 0.6), 0.014),
        ],
    ),
    "cushion": ([(_pillow(), 0)], []),
    "mug": (
        [(_CUP, 0), (_arc(0.46, 0.27, 0.22, 0.055), 0), (_arc(0.67, 0.5, 0.15, 0.16, -90, 90, 0.8), 0.055)],
        [(_arc(0.46, 0.27, 0.195, 0.04), 0)],
    ),
}


def _layer(parts: list[Part], turn: np.ndarray, shift: np.ndarray) -> Image.Image:
    """Draws parts, moved by one affine map around the middle, as a white mask on black at the drawing size."""
    size = SIZE * SCALE
    layer = Image.new("L", (size, size))
    draw = ImageDraw.Draw(layer)
    for points, width in parts:
        moved = (((np.asarray(points) - 0.5) @ turn.T + 0.5 + shift) * size).ravel().tolist()
        if width:
            draw.line(moved, fill=255, width=max(1, round(width * size)), joint="curve")
        else:
            draw.polygon(moved, fill=255)
    return layer


def _pattern(rng: np.random.Generator, pattern: str) -> np.ndarray:
    """How much of the accent colour each point gets, from 0 to 1, at the drawing size."""
    size = SIZE * SCALE
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    period = rng.uniform(0.095, 0.13)
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4]) + rng.normal(0.0, 0.05) if pattern == "stripes" else rng.normal(0.0, 0.07)
    u = (np.cos(angle) * x + np.sin(angle) * y) / period + rng.uniform()
    v = (np.cos(angle) * y - np.sin(angle) * x) / period + rng.uniform()
    if pattern == "stripes":
        return (u % 1.0 < 0.42).astype(np.float32)
    if pattern == "checks":
        return ((u % 1.0 < 0.5) * 0.5 + (v % 1.0 < 0.5) * 0.5).astype(np.float32)
    if pattern == "dots":
        u = u + 0.5 * (np.floor(v) % 2)
        return ((u % 1.0 - 0.5) ** 2 + (v % 1.0 - 0.5) ** 2 < 0.28**2).astype(np.float32)
    return np.zeros((size, size), dtype=np.float32)


def _shades(rng: np.random.Generator, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """The main colour with some jitter, and its accent, which is the same colour mixed with cream."""
    hue, saturation, value = np.array(COLOURS[colour]) + rng.normal(0.0, [0.012, 0.04, 0.035])
    main = 255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, np.clip(saturation, 0.0, 1.0), np.clip(value, 0.0, 1.0)))
    share = rng.uniform(0.66, 0.8)
    return main, (1.0 - share) * main + share * np.array([250.0, 244.0, 230.0])


def _small(layer: Image.Image) -> np.ndarray:
    """A mask at the final size, from 0 to 1."""
    return np.asarray(layer.reduce(SCALE), dtype=np.float32) / 255.0


def _backdrop(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """A light wall that gets darker towards the floor, with the soft shadow of the product."""
    tint = rng.uniform(228.0, 246.0) + rng.normal(0.0, 2.0, 3)
    fall = np.linspace(1.02, rng.uniform(0.93, 0.97), SIZE)[:, None]
    wide = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(5))
    shadow = np.roll(np.asarray(wide, dtype=np.float32) / 255.0, (5, int(rng.integers(-4, 5))), axis=(0, 1))
    return tint * (fall * (1.0 - 0.38 * shadow))[:, :, None]


def draw_item(rng: np.random.Generator, colour: str, pattern: str, shape: str) -> Image.Image:
    """Draws one product.

    Args:
        rng: the source of the jitter in position, size, angle, shade and light.
        colour: a key of `COLOURS`.
        pattern: one of `PATTERNS`.
        shape: a key of `SHAPES`.

    Returns:
        An RGB picture of `SIZE` x `SIZE` pixels.
    """
    angle, zoom, shift = rng.normal(0.0, 0.05), rng.uniform(0.84, 0.98), rng.normal(0.0, 0.015, 2)
    flip = rng.choice([-1.0, 1.0])
    turn = zoom * np.array([[np.cos(angle) * flip, -np.sin(angle)], [np.sin(angle) * flip, np.cos(angle)]])
    parts, details = SHAPES[shape]
    soft = _layer(parts, turn, shift).filter(ImageFilter.GaussianBlur(SCALE))
    mask = _small(soft.point(lambda level: 255 if level > 127 else 0))  # blur and cut: round corners
    seams = _small(_layer(details, turn, shift))
    main, accent = _shades(rng, colour)
    share = _pattern(rng, pattern).reshape(SIZE, SCALE, SIZE, SCALE).mean(axis=(1, 3))[:, :, None]
    edge = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(6)), dtype=np.float32)
    lit = np.linspace(1.08, 0.9, SIZE)[None, :: int(rng.choice([-1, 1]))] * (0.72 + 0.3 * np.clip(edge / 255.0, 0.0, 1.0))
    product = (main * (1.0 - share) + accent * share) * (lit * (1.0 - 0.35 * seams))[:, :, None]
    cover = mask[:, :, None]
    picture = _backdrop(rng, mask) * (1.0 - cover) + product * cover + rng.normal(0.0, 1.2, (SIZE, SIZE, 1))
    return Image.fromarray(np.clip(picture, 0.0, 255.0).round().astype(np.uint8))
