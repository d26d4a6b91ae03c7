"""Loads a sentence-transformers model with all of its weights from the files, or says in one line why that is impossible."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from recbole_mm.encoder.hf.load import TRUST, dtype_argument, quiet
from recbole_mm.encoder.hf.source import ADVICE, find_folder
from recbole_mm.encoder.hub import hub_access
from recbole_mm.encoder.matryoshka import says_matryoshka
from recbole_mm.encoder.timm.source import is_timm_folder
from recbole_mm.errors import InputError, MissingPackage, listed, one_line

OWN = "sentence_transformers."


def find_source(label: str, name: str, source: str | None) -> str:
    """What sentence-transformers takes for a folder or a hub repository. Nothing is read.

    Raises:
        MissingPackage: sentence-transformers is not installed.
        InputError: no such folder, or a malformed name.
    """
    if find_spec("sentence_transformers") is None:
        raise MissingPackage(f"{label} needs the package sentence-transformers: pip install 'recbole-mm[st]'")
    folder = find_folder(label, name, source, download=False)
    found = name if folder is None else str(folder)
    if is_timm_folder(Path(found)) and not (Path(found) / "modules.json").is_file():
        raise InputError(f"{label}: {found} holds a model of timm's, not of sentence-transformers; write hf:{Path(found).absolute()}")
    return found


class Loaded(NamedTuple):
    """A model as sentence-transformers loads it.

    Attributes:
        model: the float32 ``SentenceTransformer`` on the CPU in eval mode.
        missing: names of its transformers model's tensors that no file has.
        matryoshka: its files say that its rows may be cut.
    """

    model: nn.Module
    missing: set[str]
    matryoshka: bool


def load_chain(label: str, source: str, revision: str | None, trust_remote_code: bool) -> Loaded:
    """The model behind a folder or a name.

    Raises:
        InputError: it is not cached and cannot be downloaded, it cannot be read, or it needs code that is not trusted.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import load_file_path

    with hub_access() as online, quiet(), noting_missing() as missing, torch.random.fork_rng(devices=[]):
        options = {"revision": revision, "local_files_only": not online}
        try:
            if not trust_remote_code:
                _refuse_code(label, source, options)
            model = SentenceTransformer(
                source, device="cpu", trust_remote_code=trust_remote_code, model_kwargs={dtype_argument(): torch.float32}, **options
            )
        except InputError:
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {one_line(error)}"
            advice = "" if Path(source).is_dir() else f"; where it cannot be downloaded, {ADVICE.replace('hf:', 'st:')}"
            raise InputError(f"{label}: sentence-transformers cannot load it ({cause}){advice}") from error
        card = load_file_path(source, "README.md", **options)
    texts = [Path(card).read_text(encoding="utf-8", errors="ignore")] if card else []
    texts += [part.config.to_json_string() for part in model.modules() if hasattr(part, "config_class")]
    return Loaded(model.float().eval(), missing, model.truncate_dim is not None or says_matryoshka(texts))


def chain_of(label: str, model: nn.Module, task: str) -> list[nn.Module]:
    """The modules of a ``SentenceTransformer`` that an item passes through: of a model with several routes, those of ``task``.

    Raises:
        InputError: the first of them is no transformers model.
    """
    first, *others = model
    routes = getattr(first, "sub_modules", None)
    if routes is not None:
        first, *before = routes[task if task in routes else next(iter(routes))]
        others = [*before, *others]
    if not isinstance(getattr(first, "auto_model", None), nn.Module):
        raise InputError(f"{label}: its first module is a {type(first).__name__}, and st: takes models that begin with a Transformer")
    return [first, *others]


@contextmanager
def noting_missing() -> Iterator[set[str]]:
    """Inside the block, transformers' models note the names of the tensors that their files lack."""
    from transformers import PreTrainedModel

    original, missing = PreTrainedModel.__dict__["from_pretrained"], set()

    def noting(cls: type, *args: object, **kwargs: object) -> nn.Module:
        model, info = original.__func__(cls, *args, output_loading_info=True, **kwargs)
        missing.update(info["missing_keys"])
        return model

    PreTrainedModel.from_pretrained = classmethod(noting)
    try:
        yield missing
    finally:
        PreTrainedModel.from_pretrained = original


def _refuse_code(label: str, source: str, options: dict[str, object]) -> None:
    """Raises InputError: a module is none of sentence-transformers' own (whose versions before 6 would import it unasked)."""
    from sentence_transformers.util import load_file_path

    path = load_file_path(source, "modules.json", **options)
    if path is None:
        return
    with open(path, encoding="utf-8") as file:
        foreign = [str(module["type"]) for module in json.load(file) if not str(module["type"]).startswith(OWN)]
    if foreign:
        raise InputError(f"{label}: sentence-transformers has no {listed(foreign)}: {TRUST}")
