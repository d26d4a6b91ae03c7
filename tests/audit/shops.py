"""A small sound shop, to be spoilt."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from recbole_mm.cli import main

N_USERS, N_ITEMS, PER_USER = 40, 50, 20
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty")


class Drawn:
    """``items``: token -> [title, image]; ``pictures``: file name -> bytes; ``inter``: [user, item, time]. ``write`` makes the folder."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.folder = folder
        self.items = {f"i{i}": [f"A {WORDS[i % 10]} {WORDS[i // 10]} thing of its own", f"{i}.png"] for i in range(N_ITEMS)}
        self.pictures = {f"{i}.png": png(scene(rng)) for i in range(N_ITEMS)}
        self.inter = [
            [f"u{u}", f"i{i}", 86400 * (t + 1)] for u in range(N_USERS) for t, i in enumerate(rng.permutation(N_ITEMS)[:PER_USER].tolist())
        ]
        self.extra_rows: list[str] = []

    def write(self, parts: dict[str, list] | None = None) -> "Drawn":
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        for name, content in self.pictures.items():
            (self.folder / "images" / name).write_bytes(content)
        lines = ["item_id:token\ttitle:token_seq\timage:token", *("\t".join([token, *row]) for token, row in self.items.items())]
        self.file("item").write_text("\n".join([*lines, *self.extra_rows]) + "\n", encoding="utf-8")
        for part, inter in (parts or {"": self.inter}).items():
            rows = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in inter)]
            self.file(f"{part}{part and '.'}inter").write_text("\n".join(rows) + "\n")
        return self

    def file(self, suffix: str) -> Path:
        return self.folder / f"{self.folder.name}.{suffix}"

    def audit(self, capsys, *arguments: str, status: int = 0) -> dict:
        """The JSON report; exit status and plain text are checked on the way."""
        assert main(["audit", *self.arguments(*arguments), "--json"]) == status
        out, err = capsys.readouterr()
        assert not err
        return json.loads(out)

    def arguments(self, *more: str) -> list[str]:
        return [f"--dataset={self.folder.name}", f"--data_path={self.folder.parent}", "--show_progress=False", "--use_gpu=False", *more]


def scene(rng: np.random.Generator, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A picture unlike any other."""
    return Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    return _saved(image, "PNG")


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    return _saved(image, "JPEG", quality=quality)


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def found(report: dict) -> dict[str, dict]:
    """code -> finding; of several with one code the first."""
    return {finding["code"]: finding for finding in reversed(report["findings"])}
