"""An image encoder and a text encoder side by side: the modality-specific baseline of CLIPRec's paper."""

from torch import Tensor, nn

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.encoder.factory import check_name, create_encoder, options_of, parse_name, register_backend
from recbole_mm.encoder.probe import probe_inputs
from recbole_mm.encoder.trace import trace
from recbole_mm.errors import InputError, listed

FORM = "separate:image=<encoder>,text=<encoder>"
SPLITS = (("image", "text"), ("text", "image"))


class SeparateEncoder(ItemEncoder):
    """The image side of one encoder and the text side of another; their rows lie in different spaces.

    ``image`` and ``text`` are the two encoders (the names of their parameters begin with "image." and "text."). If one of them reads
    more than its modality, only what this modality passes through is trained and tuned.
    """

    modalities = ("image", "text")

    def __init__(self, name: str, image: ItemEncoder, text: ItemEncoder):
        """Raises InputError: a part does not read its modality."""
        super().__init__()
        self.name = name
        self.image, self.text = image, text
        self._used: dict[str, set[str]] = {}
        for modality, part in self._parts():
            if modality not in part.modalities:
                raise InputError(f"{name}: {part.name} reads {listed(part.modalities)}, so it cannot be the {modality} encoder")
            self._used[modality] = _used(modality, part)
            for parameter_name, parameter in part.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and parameter_name in self._used[modality])
        self.output_dims = {modality: part.output_dims[modality] for modality, part in self._parts()}
        self.image_size, self.image_mean, self.image_std = image.image_size, image.image_mean, image.image_std
        self.preprocess_image, self.channels_last = image.preprocess_image, image.channels_last
        self.pad_id = text.pad_id
        self.from_scratch = image.from_scratch and text.from_scratch
        self._sites = {kind: self._names_of(kind) for kind in ("linear_layers", "adapter_sites")}
        self._tower_numbers = {modality: self._own_towers(modality, part) for modality, part in self._parts()}

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = dict(self._parts())
        for modality in inputs:
            if modality not in parts:
                raise ValueError(f"{self.name} encodes image and text, not '{modality}'")
        return {modality: parts[modality]({modality: values})[modality] for modality, values in inputs.items()}

    def tokenize(self, texts: list[str]) -> Tensor:
        return self.text.tokenize(texts)

    def pooled(self, modality: str, hidden: Tensor, inputs: Tensor) -> Tensor:
        return dict(self._parts())[modality].pooled(modality, hidden, inputs)

    def token_states(self, modality: str, hidden: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return dict(self._parts())[modality].token_states(modality, hidden, inputs)

    def weights_module(self) -> nn.Module:
        raise InputError(f"{self.name} is several encoders: export each of them")

    def towers(self) -> list[list[nn.Module]]:
        return [tower for modality, part in self._parts() for i, tower in enumerate(part.towers()) if i in self._tower_numbers[modality]]

    def head(self) -> list[str]:
        return [f"{modality}.{name}" for modality, part in self._parts() for name in part.head() if name in self._used[modality]]

    def linear_layers(self) -> list[str]:
        return list(self._sites["linear_layers"])

    def adapter_sites(self) -> list[str]:
        return list(self._sites["adapter_sites"])

    def geometry(self) -> dict:
        return self.image.geometry()

    def describe(self) -> dict:
        parts = {modality: {"geometry": part.geometry(), **part.describe()} for modality, part in self._parts()}
        return {"backend": "separate", **parts}

    def _parts(self) -> list[tuple[str, ItemEncoder]]:
        return [("image", self.image), ("text", self.text)]

    def _names_of(self, kind: str) -> list[str]:
        """The lists of both parts, without the modules that their modality does not pass through."""
        return [
            f"{modality}.{name}"
            for modality, part in self._parts()
            for name in getattr(part, kind)()
            if any(f"{name}.{inner}" in self._used[modality] for inner, _ in part.get_submodule(name).named_parameters())
        ]

    def _own_towers(self, modality: str, part: ItemEncoder) -> list[int]:
        names = {parameter: name for name, parameter in part.named_parameters()}
        return [
            i
            for i, tower in enumerate(part.towers())
            if any(names[parameter] in self._used[modality] for block in tower for parameter in block.parameters())
        ]


def check_separate(name: str, source: str | None) -> None:
    """Raises InputError: a name that cannot be split, or a part that cannot be right."""
    for part in split_name(name).values():
        check_name(part)


@register_backend("separate", whole=True, check=check_separate)
def create_separate(
    name: str,
    source: str | None,
    *,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    trust_remote_code: bool = False,
    prompt: str | None = None,
    max_patches: int | None = None,
    image_size: int | None = None,
) -> SeparateEncoder:
    """``name``: ``image=<encoder>,text=<encoder>`` in either order, each a name for ``create_encoder``. The seed goes to both parts,
    ``max_patches`` and ``image_size`` to the image part, and any other option to those whose backend has it.

    Raises:
        InputError: see ``create_encoder``; a name that cannot be split or can be split in several ways; a part that does not read its
            modality; a prompt that no part takes.
    """
    options = {"gradient_checkpointing": gradient_checkpointing, "trust_remote_code": trust_remote_code}
    if prompt is not None:
        options["prompt"] = prompt
        if not any("prompt" in (options_of(parse_name(part)[0]) or ()) for part in split_name(name).values()):
            raise InputError(f"separate:{name}: neither part takes a prompt, which is for st: leave encoder_prompt out")
    of_pictures = {"max_patches": max_patches, "image_size": image_size}
    own = {"image": {option: value for option, value in of_pictures.items() if value is not None}, "text": {}}
    parts = {modality: _create(part, seed, options, own[modality]) for modality, part in split_name(name).items()}
    return SeparateEncoder(f"separate:{name}", **parts).eval()


def split_name(name: str) -> dict[str, str]:
    """``image=a,text=b`` or ``text=b,image=a`` -> {"image": "a", "text": "b"}. Raises InputError: neither, or ambiguous."""
    for first, second in SPLITS:
        pieces = name.removeprefix(f"{first}=").split(f",{second}=")
        if name.startswith(f"{first}=") and len(pieces) == 2 and all(piece.strip() for piece in pieces):
            return {first: pieces[0].strip(), second: pieces[1].strip()}
    raise InputError(
        f"encoder 'separate:{name}' is not of the form {FORM}, e.g. "
        "separate:image=hf:microsoft/resnet-50,text=hf:sentence-transformers/all-MiniLM-L6-v2"
    )


def _create(name: str, seed: int, options: dict[str, bool | str], own: dict[str, int]) -> ItemEncoder:
    known = options_of(parse_name(name)[0])
    return create_encoder(name, seed=seed, **own, **{key: value for key, value in options.items() if known is None or key in known})


def _used(modality: str, part: ItemEncoder) -> set[str]:
    """Names of the parameters that the modality's rows depend on."""
    inputs = {modality: probe_inputs(part, modality, n=1)}
    return set(trace(part, lambda: part(inputs)[modality]).parameters)
