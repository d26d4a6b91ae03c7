"""What every encoder must make of pictures and texts, however odd."""

import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch import Tensor

from recbole_mm.data.image import load_image
from recbole_mm.data.text import join_fields
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.patches import stack_pictures
from recbole_mm.errors import InputError
from recbole_mm.testing.demands import Demand, refused, require
from recbole_mm.testing.odd_items import ODD_TEXTS, inputs_of, noise, odd_pictures


class InputChecks:
    """Checks of one encoder's preprocessing and tokenizer."""

    def __init__(self, encoder: ItemEncoder) -> None:
        self.encoder = encoder

    def demands(self) -> list[Demand]:
        """All demands that the encoder's modalities allow."""
        found = [
            Demand("preprocessing and tokens have their shapes", self.inputs_have_their_shapes),
            Demand("what it cannot read is refused", self.refuses),
        ]
        if "image" in self.encoder.modalities:
            found += [
                Demand("pictures of every mode and shape are read", self.reads_odd_pictures),
                Demand("preprocessing travels to other processes without weights", self.preprocessing_travels),
            ]
        if "text" in self.encoder.modalities:
            found += [
                Demand("texts of every script and length are read", self.reads_odd_texts),
                Demand("long texts are cut by token", self.cuts_by_token),
            ]
        return found

    def has_shape(self, pixels: Tensor) -> bool:
        """Is a picture of the shape that image_size says?"""
        size = self.encoder.image_size
        return tuple(pixels.shape) == ((len(pixels), size[1]) if self.encoder.keeps_shapes else (3, *size))

    def inputs_have_their_shapes(self) -> None:
        e, inputs = self.encoder, inputs_of(self.encoder)
        if "image" in inputs:
            pixels = inputs["image"]
            require(pixels.dtype == torch.uint8, f"preprocess_image gives {pixels.dtype}, not uint8")
            require(self.has_shape(pixels[0]), f"preprocess_image gives {tuple(pixels.shape[1:])}, which is not what image_size says")
        if "text" in inputs:
            ids = inputs["text"]
            padding = (ids == e.pad_id).int()
            require(ids.dtype == torch.int64 and len(ids) == 4, "tokenize gives int64 (number of texts, length)")
            require(padding[1].any() and (padding.diff(dim=1) >= 0).all(), "short texts are not padded with pad_id at the end")
            require(not padding[3, :-1].any(), "a long text does not fill its row")
            require(e.tokenize([]).dtype == torch.int64 and len(e.tokenize([])) == 0, "tokenize([]) does not give int64 (0, length)")

    def refuses(self) -> None:
        e = self.encoder
        refused(ValueError, lambda: e({"audio": torch.zeros(1, 3)}), "an unknown modality is refused by a ValueError")
        if "image" not in e.modalities:
            refused(InputError, lambda: e.preprocess_image(noise(9, 9)), "preprocess_image is refused by an encoder that reads no pictures")
        if "text" not in e.modalities:
            refused(InputError, lambda: e.tokenize(["a"]), "tokenize is refused by an encoder that reads no texts")

    @torch.no_grad()
    def reads_odd_pictures(self) -> None:
        e = self.encoder
        with TemporaryDirectory() as folder:
            pictures = {what: (image, load_image(path)) for what, (image, path) in odd_pictures(Path(folder)).items()}
        made = [e.preprocess_image(image) for image, _ in pictures.values()]
        made += [e.preprocess_image(loaded) for _, loaded in pictures.values()]
        for pixels, what in zip(made, [*pictures] * 2, strict=True):
            require(pixels.dtype == torch.uint8 and self.has_shape(pixels), f"a picture that is {what} has other pixels")
        for modality, rows in e(inputs_of(e, ["a"] * len(made), stack_pictures(made))).items():
            require(rows.isfinite().all(), f"{modality} has rows that are not finite")
        upright = pictures["EXIF-rotated"][0].transpose(Image.Transpose.ROTATE_270)
        require(torch.equal(made[-1], e.preprocess_image(upright)), "a picture that its EXIF block turns has other pixels than turned")

    @torch.no_grad()
    def reads_odd_texts(self) -> None:
        texts = list(ODD_TEXTS.values())
        for given in (texts, [join_fields([text]) for text in texts]):
            for modality, rows in self.encoder(inputs_of(self.encoder, given)).items():
                require(rows.isfinite().all(), f"{modality} has rows that are not finite")

    @torch.no_grad()
    def cuts_by_token(self) -> None:
        e = self.encoder
        cut, *shorter = e.tokenize(["red " * 10_000, *("red " * k for k in range(1, 100))])
        filled = next((k for k, ids in enumerate(shorter, 1) if torch.equal(ids, cut)), None)
        require(filled and filled > 10, "a row of tokens has room for more than 10 words, and for fewer than 100")
        require(all(torch.equal(ids, cut) for ids in shorter[filled:]), "longer texts are cut in other places")
        start = "red " * filled
        long, same = (e.tokenize([text]) for text in (start + "shirt " * 50, start))
        require(torch.equal(long, same), "what lies behind the cut changes the tokens")
        require(not torch.equal(e.tokenize(["red " * (filled - 1) + "shirt"]), same), "the last word before the cut is not read")

    def preprocessing_travels(self) -> None:
        sent, picture = pickle.dumps(self.encoder.preprocess_image), noise(90, 50)
        require(len(sent) < 4000, f"preprocess_image pickles to {len(sent)} bytes: with the weights?")
        require(torch.equal(pickle.loads(sent)(picture), self.encoder.preprocess_image(picture)), "preprocess_image differs after pickling")
