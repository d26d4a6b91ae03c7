"""The contract every encoder meets."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from recbole_mm.encoder.digests import digest_of
from recbole_mm.encoder.losses import image_text_contrastive
from recbole_mm.encoder.network import FeatureNetwork
from recbole_mm.encoder.patches import PLACE_BYTES, read_places
from recbole_mm.encoder.resting import resting_modules
from recbole_mm.encoder.shrink import Kept
from recbole_mm.encoder.weights import write_weights
from recbole_mm.errors import InputError

Inputs = Tensor | tuple[Tensor, Tensor]


class ItemEncoder(FeatureNetwork):
    """A network that turns item pictures and texts into rows of features.

    A subclass sets the attributes below and implements ``forward``, ``towers``, ``head``, ``geometry`` and ``describe``; with
    pictures also ``preprocess_image``, with texts also ``tokenize``, where both lie in one space also ``similarity``. One that reads a
    picture and a text in one pass is a ``JointEncoder``. Everything else has a default that claims nothing.

    Attributes:
        modalities: what it encodes: "image", "text", and "joint" for both in one pass.
        output_dims: modality -> width of its rows.
        image_size: (height, width) in pixels; (None, B) where pictures keep their shape, as sequences of patches of B bytes (see
            ``patches``); None without pictures.
        image_mean, image_std: per RGB channel, for pixels scaled to 0..1.
        pad_id: the token id that pads texts, None without texts.
        matryoshka: the first numbers of a row are known to make a row of their own.
        row_dim: how many of them are in use, None for all: see ``cut_rows``.
        channels_last: where its blocks give maps, they are (n, h, w, d), and not (n, d, h, w).
    """

    modalities: tuple[str, ...] = ()
    output_dims: dict[str, int] = {}
    image_size: tuple[int | None, int] | None = None
    image_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    image_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    pad_id: int | None = None
    matryoshka: bool = False
    row_dim: int | None = None
    channels_last: bool = False

    @abstractmethod
    def forward(self, inputs: dict[str, Inputs]) -> dict[str, Tensor]:
        """Encodes n items.

        Args:
            inputs: any of "image": uint8 (n, 3, H, W), or (n, L, B) of patches; "text": int64 (n, L); and "joint": a pair of the two; on
                the encoder's device. Neither the modalities nor the items may influence each other's rows.

        Returns:
            (n, output_dims[m]), one row per item, for every modality given, in the dtype of the weights, not L2-normalised
            unless that is part of the encoder.
        """

    def layers(self) -> list[nn.Module]:
        """All blocks in order from input to output; of two towers, the image tower's come first."""
        return [block for tower in self.towers() for block in tower]

    def linear_layers(self) -> list[str]:
        """Names of the layers inside the blocks that low-rank updates (LoRA) adapt: nn.Linear, nn.MultiheadAttention as a whole (its
        projections are used without being called), and the convolutions of blocks that have neither, except for depthwise and other
        grouped ones."""
        names = {module: name for name, module in self.named_modules()}
        found = []
        for block in self.layers():
            inside = list(block.modules())
            attentions = [m for m in inside if isinstance(m, nn.MultiheadAttention)]
            owned = {part for attention in attentions for part in attention.modules() if part is not attention}
            linear = [m for m in inside if isinstance(m, nn.Linear | nn.MultiheadAttention) and m not in owned]
            found += [names[m] for m in linear or [m for m in inside if isinstance(m, nn.Conv2d) and m.groups == 1]]
        return list(dict.fromkeys(found))

    def adapter_sites(self) -> list[str]:
        """Names of the modules whose output a bottleneck adapter refines: the blocks, or modules inside of them where each modality has
        an expert of its own. The output is a tensor, (n, ..., d) or (n, d, h, w), or a tuple that begins with one."""
        names = {module: name for name, module in self.named_modules()}
        return [names[block] for block in self.layers()]

    @abstractmethod
    def geometry(self) -> dict:
        """Everything that decides which pixels ``preprocess_image`` returns, as JSON-able values; nothing about weights."""

    @abstractmethod
    def describe(self) -> dict:
        """Architecture and preprocessing as JSON-able values: everything in the fingerprint besides the weights."""

    def train(self, mode: bool = True) -> "ItemEncoder":
        """As of any module, except that what has nothing to train, and every batch norm, stays in eval mode: see ``resting_modules``."""
        super().train(mode)
        if mode:
            resting = resting_modules(self)
            for module in self.modules():
                module.training = module not in resting
        return self

    def preprocess_image(self, image: Image.Image) -> Tensor:
        """An RGB picture -> uint8 (3, H, W), or (L, B) of patches: geometry only, no normalisation. May be an attribute instead of a
        method. It is sent to worker processes, so it should not hold the weights."""
        raise InputError(f"{self.name} does not read pictures")

    def tokenize(self, texts: list[str]) -> Tensor:
        """Texts -> int64 (n, L) token ids, truncated by token and padded with ``pad_id``."""
        raise InputError(f"{self.name} does not read texts")

    def pooled(self, modality: str, hidden: Tensor, inputs: Inputs) -> Tensor:
        """A block's output for n items, (n, d), (n, L, d) or maps (see ``channels_last``) -> (n, d): at the position that rows of the
        modality are made of, or else the mean over all positions. ``inputs`` are what the items were encoded from."""
        if hidden.dim() == 2:
            return hidden
        if modality == "image" and self.keeps_shapes:
            states, mask = self.token_states(modality, hidden, inputs)
            return (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        maps = hidden.dim() == 4 and not self.channels_last
        return hidden.flatten(2).mean(2) if maps else hidden.flatten(1, -2).mean(1)

    def token_states(self, modality: str, hidden: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A block's hidden states of n pictures or texts, (n, L, d), (n, d) or maps (see ``channels_last``) -> one vector per position,
        (n, L, d), and bool (n, L), False where a position is padding. Of an empty text, the first one counts. ``inputs`` are what they
        were encoded from."""
        maps = hidden.dim() == 4 and not self.channels_last
        states = hidden.unsqueeze(1) if hidden.dim() == 2 else hidden.flatten(2).mT if maps else hidden.flatten(1, -2)
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        if modality == "text":
            ends = inputs[:, : mask.shape[1]] != self.pad_id
            mask[:, 1:] = torch.nn.functional.pad(ends, (0, mask.shape[1] - ends.shape[1]))[:, 1:]
        if modality == "image" and self.keeps_shapes:
            here = read_places(inputs)[1]
            mask = here if here.shape == mask.shape else mask
        return states, mask

    def similarity(self) -> tuple[Tensor, Tensor | None]:
        """The encoder's own (positive scale, bias or None) for cosines of its image and text rows, with their graph; made of parameters
        of one number each, the only ones that are whole outside of ``forward`` where an encoder is sharded.

        Raises:
            InputError: it has none.
        """
        raise InputError(f"{self.name} brings no scale for the similarity of pictures and texts, so it has no contrastive loss")

    def weights_module(self) -> nn.Module:
        """The part whose state dict is the weights file that ``backend:name@file`` reads, for export.

        Raises:
            InputError: no single file holds this encoder's weights.
        """
        raise InputError(f"{self.name} names no weights file that it could be read from again: keep the checkpoint")

    def save_files(self, folder: Path) -> tuple[str, dict[str, object]]:
        """Writes what the encoder is read from into a folder: its weights, and with them whatever else its backend reads from files.

        Returns:
            The name and the options (``image_size``, ``max_patches``, ``tokenizer``) with which ``create_encoder`` reads it again, where
            ``{folder}`` stands for the folder.

        Raises:
            InputError: see ``weights_module``.
        """
        write_weights(self.weights_module(), folder / "weights.safetensors")
        return f"{self.name.partition('@')[0]}@{{folder}}/weights.safetensors", {}

    def shrink(self, kept: Sequence[Kept]) -> None:
        """Takes blocks and hidden units out of its towers, in place (see ``take_out``), and says so in its configuration, so that
        ``save_files`` writes the smaller encoder. After an error, it is of no use any more.

        Args:
            kept: what stays of each tower.

        Raises:
            InputError: its backend has no way to say that shape.
        """
        raise InputError(f"{self.name} cannot be pruned: its backend names no depth that could be another; name a --student instead")

    @staticmethod
    def shorten(token_ids: Tensor, pad_id: int) -> Tensor:
        """(n, L) token ids without the columns at the end that are padding in every row; at least one column stays."""
        used = (token_ids != pad_id).any(0).nonzero()
        return token_ids[:, : int(used[-1]) + 1 if len(used) else 1]

    @property
    def keeps_shapes(self) -> bool:
        """Is a picture a sequence of as many patches as its own shape asks for?"""
        return self.image_size is not None and self.image_size[0] is None

    @property
    def preprocess_key(self) -> str:
        """16 hexadecimal digits that stand for the geometry: encoders with the same key can share packed pictures."""
        return hashlib.sha256(_canonical(self.geometry())).hexdigest()[:16]

    def fingerprint(self) -> str:
        """32 hexadecimal digits over architecture, weights (names, dtypes, shapes, bytes) and preprocessing (geometry, mean, std,
        tokenizer). They are the same in every process and on every device, and change with any of these."""
        described = {"geometry": self.geometry(), **self.describe()}
        if self.row_dim is not None:
            described["row_dim"] = self.row_dim
        return digest_of(sorted(self.state_dict().items()), _canonical(described))

    def contrastive_loss(self, features: dict[str, Tensor], same: Tensor | None = None) -> Tensor:
        """Symmetric image-text contrastive loss of the given rows, with the encoder's own scale (see ``image_text_contrastive``).

        Args:
            features: what ``forward`` returned for items that have both a picture and a text: "image" and "text", (n, d) each.
            same: bool (n, n), pairs of items that share their picture or their text, and so are not each other's negatives.

        Raises:
            InputError: the encoder lacks one of the two modalities, or they lie in different spaces.
            ValueError: ``features`` lacks one.
        """
        if not {"image", "text"} <= set(self.modalities):
            raise InputError(f"{self.name} encodes only {' and '.join(self.modalities)}: a contrastive loss needs image and text")
        if not self.aligned:
            raise InputError(f"{self.name}: its image and text rows lie in different spaces, so nothing can be contrasted")
        if not {"image", "text"} <= set(features):
            raise ValueError(f"the contrastive loss needs image and text rows, not {sorted(features)}")
        return image_text_contrastive(features["image"], features["text"], *self.similarity(), same=same)

    def normalise(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """(pixels / 255 - mean) / std on the same device, computed in float32 or finer, as ``dtype``: of uint8 (n, 3, H, W), or of the
        patches (n, L, B), which lose their places.

        Raises:
            TypeError: the pixels are not uint8 (already normalised pixels would be normalised twice).
            ValueError: the shape does not agree with image_size.
        """
        if pixels.dtype != torch.uint8:
            raise TypeError(f"{self.name} takes uint8 pixels and normalises them itself, not {pixels.dtype}")
        shape = (*pixels.shape[1:2], self.image_size[1]) if self.keeps_shapes else (3, *self.image_size)
        if tuple(pixels.shape[1:]) != shape:
            raise ValueError(f"{self.name} takes pictures of shape {shape}, not {tuple(pixels.shape[1:])}")
        working = torch.promote_types(dtype, torch.float32)
        mean, std = torch.tensor([self.image_mean, self.image_std], dtype=working, device=pixels.device)
        if self.keeps_shapes:
            colours = pixels[..., :-PLACE_BYTES].unflatten(2, (-1, 3)).to(working)
            return colours.div_(255).sub_(mean).div_(std).flatten(2).to(dtype)
        return pixels.to(working).div_(255).sub_(mean.view(3, 1, 1)).div_(std.view(3, 1, 1)).to(dtype)


def _canonical(description: dict) -> bytes:
    return json.dumps(description, sort_keys=True, separators=(",", ":")).encode()
