"""Weights files: downloaded, read without running any code in them, and compared with what an architecture needs."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from recbole_mm.disk import share, write_whole
from recbole_mm.errors import InputError, listed, one_line

WRAPPERS = ("state_dict", "module", "model")
PREFIX = "module."


def read_weights(label: str, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file, on the CPU, and memory-mapped where the format allows. What training wrapped them in is
    taken off: a ``state_dict``, ``module`` or ``model`` entry, a ``module.`` prefix.

    Raises:
        InputError: there is no such file, or it is not readable (truncated, say), contains code, or has no tensors.
    """
    require_file(label, path)
    with reading(label, path):
        return unwrapped(_read(path))


def write_weights(module: nn.Module, file: str | Path) -> None:
    """Writes a module's state as safetensors, which ``read_weights`` and transformers read. Tied weights are written under each name."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, str(file), {"format": "pt"})
    share(Path(file))


def require_file(label: str, path: Path) -> None:
    """Raises InputError: there is no such file."""
    if not path.is_file():
        raise InputError(f"{label}: {path} is a folder, not a file" if path.is_dir() else f"{label}: no such weights file: {path}")


def weight_shapes(label: str, path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a weights file, without the tensors' memory. Raises InputError as ``read_weights``."""
    with reading(label, path):
        if path.name.endswith(".safetensors"):
            from safetensors import safe_open

            with safe_open(str(path), framework="pt") as file:
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118, not a dict
            return {key.removeprefix(PREFIX): shape for key, shape in _some(shapes).items()}
        return shapes_of(unwrapped(torch.load(path, map_location="meta", weights_only=True)))


def unwrapped(content: object) -> dict[str, Tensor]:
    """The state dict inside what a training script saved. Raises ValueError if there is none."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise ValueError(f"a {type(content).__name__} where a dictionary of tensors should be")
    state = {str(key).removeprefix(PREFIX): value for key, value in content.items() if isinstance(value, Tensor)}
    return _some(state)


def misfit(found: Mapping[str, tuple], wanted: Mapping[str, tuple], n: int = 10) -> str:
    """How a file's tensors differ from those of an architecture: "1 missing: a; 2 unexpected: b, c"; empty where they fit.

    Args:
        found, wanted: name -> shape.
        n: how many names of each kind are listed.
    """
    kinds = {
        "missing": [key for key in wanted if key not in found],
        "unexpected": [key for key in found if key not in wanted],
        "of another shape": [
            f"{key} {tuple(found[key])} instead of {tuple(shape)}"
            for key, shape in wanted.items()
            if key in found and tuple(found[key]) != tuple(shape)
        ],
    }
    more = {kind: f" and {len(keys) - n} more" * (len(keys) > n) for kind, keys in kinds.items()}
    return "; ".join(f"{len(keys)} {kind}: {listed(keys[:n])}{more[kind]}" for kind, keys in kinds.items() if keys)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def fetch(label: str, url: str) -> Path:
    """The file behind a release's URL, downloaded once into torch's hub folder (``$TORCH_HOME/hub/checkpoints``). A file that was put there
    by hand is found as well.

    Raises:
        InputError: it is not there and cannot be downloaded.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlsplit(url).path).name
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: torch.hub.download_url_to_file(url, str(file), progress=True))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{label}: {path.name} is not here and cannot be downloaded ({one_line(error)}); get it from {url} elsewhere, and put it "
            f"into {folder} or write @/path/to/{path.name}"
        ) from error
    return path


@contextmanager
def reading(label: str, path: Path) -> Iterator[None]:
    """Inside the block, whatever goes wrong with reading a weights file becomes one line that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{label}: {path} is a TorchScript program (as OpenAI's original files are), which is never run; take the same weights "
                "as safetensors from the hub repository that open_clip lists"
            ) from error
        raise InputError(
            f"{label}: {path} is not a readable weights file: {_fault(error)}; it takes safetensors, or a torch file of tensors alone"
        ) from error


def _fault(error: Exception) -> str:
    """What is wrong with the file. torch's own message on a pickle tells how to run it all the same, so it is replaced."""
    if not isinstance(error, UnpicklingError):
        return f"{type(error).__name__}: {one_line(error)}"
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"a pickle with code in it ({named[1]}), which is never run" if named else "no tensors, or code, which is never run"


def _read(path: Path) -> object:
    if path.name.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(str(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _some(state: dict) -> dict:
    if not state:
        raise ValueError("there are no tensors in it")
    return state
