"""What sentence-transformers adds to a folder: how tokens become one row, and dense layers after it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_mm.encoder.hf.source import read_json
from recbole_mm.encoder.weights import misfit, read_weights, shapes_of
from recbole_mm.errors import InputError, listed

FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The settings of sentence-transformers' Pooling module, in the order in which it concatenates."""

ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU, "Sigmoid": nn.Sigmoid}


@dataclass
class Sentence:
    """How a text's tokens become its row.

    Attributes:
        pooling: any of FLAGS' values; the results of several are concatenated.
        dense: the layers after the pooling.
        max_length: the largest number of tokens, None if the files set no limit.
        prefix: put before every text.
        lower: texts are first converted to lower case.
        folder: the folder of the transformers model itself.
    """

    folder: Path
    pooling: tuple[str, ...] = ("mean",)
    dense: nn.Sequential = field(default_factory=nn.Sequential)
    max_length: int | None = None
    prefix: str = ""
    lower: bool = False


def read_sentence(label: str, folder: Path) -> Sentence:
    """Reads the folder's sentence-transformers files; without them, tokens are mean-pooled.

    Raises:
        InputError: a file is missing or not readable, or the modules have an order or a kind that is not supported.
    """
    if not (folder / "modules.json").is_file():
        return Sentence(folder)
    modules = _modules(label, folder)
    kinds = [kind for kind, _ in modules]
    if kinds[:1] == ["CLIPModel"]:
        return Sentence(modules[0][1])
    dense = kinds.count("Dense")
    if kinds not in ([*["Transformer", "Pooling"], *["Dense"] * dense], [*["Transformer", "Pooling"], *["Dense"] * dense, "Normalize"]):
        raise InputError(
            f"{label}: {folder / 'modules.json'} chains {listed(kinds)}; supported are Transformer, Pooling, any number of "
            "Dense, and Normalize at the end"
        )
    found = Sentence(modules[0][1], _pooling(label, modules[1][1] / "config.json"))
    found.dense = nn.Sequential(*(_dense(label, path) for kind, path in modules if kind == "Dense"))
    if (found.folder / "sentence_bert_config.json").is_file():
        settings = read_json(label, found.folder / "sentence_bert_config.json")
        found.max_length, found.lower = settings.get("max_seq_length"), bool(settings.get("do_lower_case"))
    if (folder / "config_sentence_transformers.json").is_file():
        settings = read_json(label, folder / "config_sentence_transformers.json")
        found.prefix = (settings.get("prompts") or {}).get(settings.get("default_prompt_name")) or ""
    return found


def dense_folders(label: str, folder: Path) -> list[Path]:
    """The folders of the layers after the pooling. Raises InputError as ``read_sentence``."""
    return [path for kind, path in _modules(label, folder) if kind == "Dense"] if (folder / "modules.json").is_file() else []


def pool(hidden: Tensor, mask: Tensor, modes: tuple[str, ...]) -> Tensor:
    """(n, L, d) hidden states and bool (n, L), at least one True per row -> (n, d * len(modes))."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    rows = torch.arange(len(hidden), device=hidden.device)
    places = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
    total, count = (hidden * weights).sum(1), weights.sum(1)
    made = {
        "cls": lambda: hidden[:, 0],
        "max": lambda: hidden.masked_fill(~mask.unsqueeze(-1), torch.finfo(hidden.dtype).min).amax(1),
        "mean": lambda: total / count,
        "mean_sqrt_len_tokens": lambda: total / count.sqrt(),
        "weightedmean": lambda: (hidden * weights * places.view(1, -1, 1)).sum(1) / (weights * places.view(1, -1, 1)).sum(1),
        "lasttoken": lambda: hidden[rows, (mask * places).argmax(1)],
    }
    return torch.cat([made[mode]() for mode in modes], dim=-1)


def _modules(label: str, folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each of the chained modules."""
    return [(str(m.get("type", "")).split(".")[-1], folder / m.get("path", "")) for m in read_json(label, folder / "modules.json")]


def _pooling(label: str, path: Path) -> tuple[str, ...]:
    settings = read_json(label, path)
    named = settings.get("pooling_mode") or [mode for flag, mode in FLAGS.items() if settings.get(flag, flag == "pooling_mode_mean_tokens")]
    named = [named] if isinstance(named, str) else named
    if not named or not set(named) <= set(FLAGS.values()):
        raise InputError(f"{label}: {path} pools by {listed(map(str, named))}; supported are {listed(FLAGS.values())}")
    if settings.get("include_prompt") is False:
        raise InputError(f"{label}: {path} leaves prompts out of the pooling (include_prompt), which is not supported")
    return tuple(mode for mode in FLAGS.values() if mode in named)


def _dense(label: str, folder: Path) -> nn.Sequential:
    settings = read_json(label, folder / "config.json")
    activation = str(settings.get("activation_function", "Tanh")).split(".")[-1]
    if activation not in ACTIVATIONS:
        raise InputError(f"{label}: {folder / 'config.json'} has activation_function {activation}; supported are {listed(ACTIVATIONS)}")
    with torch.device("meta"):
        linear = nn.Linear(settings["in_features"], settings["out_features"], bias=settings.get("bias", True))
    path = next((folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{label}: {folder} holds no weights: model.safetensors or pytorch_model.bin")
    weights = {key.removeprefix("linear."): tensor.float() for key, tensor in read_weights(label, path).items()}
    difference = misfit(shapes_of(weights), shapes_of(linear.state_dict()))
    if difference:
        raise InputError(f"{label}: {path} does not fit its config.json: {difference}")
    linear.load_state_dict(weights, assign=True)
    return nn.Sequential(linear.requires_grad_(True), ACTIVATIONS[activation]())
