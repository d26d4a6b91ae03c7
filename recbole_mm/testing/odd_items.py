"""Inputs for any encoder: ordinary ones, and pictures and texts of every mode, shape and script, as shops have them."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.patches import stack_pictures

ORDINARY = ["a red wool scarf", "boots", "", "very long " * 200]

ROTATED = 6
"""EXIF orientation: shown, it is turned a quarter clockwise."""

ODD_TEXTS = {
    "empty": "",
    "blank": " \t\n",
    "10,000 words": "wool " * 10_000,
    "one word of 10,000 letters": "a" * 10_000,
    "emoji": "👗✨ 100 % 🧶👨‍👩‍👧 🇫🇷",
    "entities": "Women&#39;s &amp; Men&rsquo;s &lt;b&gt;T-shirt&lt;/b&gt; &nbsp;&euro;9",
    "right to left": "قميص أحمر חולצה אדומה",
    "Chinese": "红色羊毛围巾",
    "combining": "ȩ̷̛́͒ cafe\u0301",
    "control characters": "a\x00b\u200b\ufeff\u202e",
    "special tokens": "<s> </s> [PAD] [CLS] <|endoftext|> <pad>",
}


def odd_pictures(folder: Path) -> dict[str, tuple[Image.Image, Path]]:
    """What it is -> the picture as Pillow has it in memory, and a file of it in ``folder``."""
    rgb = noise(60, 40)
    deep = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (40, 60)).astype(np.uint16))
    see_through = rgb.convert("RGBA")
    see_through.putalpha(noise(60, 40, seed=2).convert("L"))
    palette = rgb.quantize(16)
    palette.info["transparency"] = 3
    kinds = {
        "1 x 1": (noise(1, 1), "png", {}),
        "5000 x 20": (noise(5000, 20), "png", {}),
        "20 x 5000": (noise(20, 5000), "png", {}),
        "palette": (rgb.quantize(16), "png", {}),
        "palette with transparency": (palette, "png", {"transparency": 3}),
        "CMYK": (rgb.convert("CMYK"), "jpg", {}),
        "16-bit": (deep, "png", {}),
        "16-bit tiff": (deep, "tiff", {}),
        "float": (rgb.convert("F"), "tiff", {}),
        "black and white": (rgb.convert("1"), "png", {}),
        "gray": (rgb.convert("L"), "jpg", {}),
        "alpha": (see_through, "png", {}),
        "LA": (see_through.convert("LA"), "png", {}),
        "animated": (rgb, "gif", {"save_all": True, "append_images": [noise(60, 40, seed=3)]}),
    }
    found = {}
    for i, (kind, (image, suffix, options)) in enumerate(kinds.items()):
        image.save(folder / f"{i}.{suffix}", **options)
        found[kind] = image, folder / f"{i}.{suffix}"
    found["EXIF-rotated"] = rotated(folder / "rotated.png")
    return found


def rotated(path: Path) -> tuple[Image.Image, Path]:
    """A picture that its EXIF block asks to turn, opened without turning it, and its file."""
    image = noise(60, 40)
    exif = image.getexif()
    exif[0x0112] = ROTATED
    image.save(path, exif=exif)
    return Image.open(path), path


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def inputs_of(encoder: ItemEncoder, texts: list[str] = ORDINARY, pixels: Tensor | None = None) -> dict:
    """Inputs of every modality for as many items as there are texts; of the items in ``pixels``, if given."""
    sizes = [(60, 90), (64, 64), (200, 33), (20, 300)]
    if pixels is None and encoder.image_size:
        pixels = stack_pictures([encoder.preprocess_image(noise(*sizes[i % 4], seed=i)) for i in range(len(texts))])
    tokens = None if encoder.pad_id is None else encoder.tokenize(texts)
    made = {"image": pixels, "text": tokens, "joint": (pixels, tokens)}
    return {modality: made[modality] for modality in encoder.modalities}
