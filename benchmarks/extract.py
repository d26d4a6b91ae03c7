"""How near extraction comes to the bare encoder: forward passes on ready tensors of the same batches, against the whole of
`recbole-mm extract` from packed pictures, and from JPEG files (drawn here) nobody has read before.

    python benchmarks/extract.py [--items=256] [--batch=64] [--repeats=3] [--threads=2]
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from clock import DEVICE, clock
from PIL import Image
from safetensors.torch import save_file

from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.items.catalogue import encode_catalogue

WORDS = ("leather", "boots", "silk", "dress", "mountain", "evening", "red", "blue", "soft", "warm", "light", "city", "cotton")


def draw(folder: Path, n_items: int) -> None:
    """JPEG files of 500 x 400 pixels, about 60 kB each."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n_items):
        coarse = Image.fromarray(rng.integers(0, 256, (20, 25, 3), dtype=np.uint8)).resize((500, 400), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(coarse) + rng.normal(0, 12, (400, 500, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.jpg", quality=85)


def content_of(pictures: Path, cache: Path, n_items: int) -> ItemContent:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 12)) + f" {i}" for i in range(n_items)]
    names = [f"{i}.jpg" for i in range(n_items)]
    return ItemContent(["[PAD]", *names], ["", *names], ["", *texts], pictures, cache)


def seconds(work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def measure(encoder: ItemEncoder, folder: Path, options: argparse.Namespace) -> None:
    """Medians of interleaved repeats, so that a busy machine slows all of them alike."""
    pictures, cache, key = folder / "pictures", folder / "cache", (encoder.preprocess_image, encoder.preprocess_key, encoder.image_size)
    content = content_of(pictures, cache, options.items)
    packing = seconds(lambda: content.use_preprocessing(*key))
    batches = [
        {"image": content.images(ids).to(DEVICE), "text": encoder.tokenize(content.texts(ids)).to(DEVICE)}
        for ids in torch.arange(1, options.items + 1).split(options.batch)
    ]

    def bare() -> None:
        with torch.no_grad():
            for batch in batches:
                for modality, values in batch.items():
                    encoder.eval()({modality: values})

    def extraction() -> None:
        shutil.rmtree(cache / "features", ignore_errors=True)
        encode_catalogue(encoder, content_of(pictures, cache, options.items), None, chunk_size=options.batch)

    def from_files() -> None:
        shutil.rmtree(cache)
        cache.mkdir()
        extraction()

    bare()
    times = np.median([[seconds(bare), seconds(extraction), seconds(from_files)] for _ in range(options.repeats)], axis=0)
    rates = options.items / times
    print(
        f"{encoder.name.partition('@')[0]}, batches of {options.batch}: bare forward {rates[0]:.0f} items/s; "
        f"extraction of packed pictures {rates[1]:.0f} ({times[0] / times[1]:.2f} of bare); "
        f"of JPEG files {rates[2]:.0f} ({times[0] / times[2]:.2f} of bare); decoding alone {options.items / packing:.0f}"
    )


def main() -> None:
    import open_clip  # after recbole_mm, which mends torchvision's import

    parser = argparse.ArgumentParser()
    for name, default in (("items", 256), ("batch", 64), ("repeats", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder / "pictures", options.items)
        save_file(open_clip.create_model("ViT-B-32").state_dict(), folder / "random.safetensors")
        for name in ("open_clip:tiny", f"open_clip:ViT-B-32@{folder / 'random.safetensors'}"):
            measure(create_encoder(name, seed=0).to(DEVICE), folder, options)


if __name__ == "__main__":
    main()
