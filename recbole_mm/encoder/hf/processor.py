"""Finds the image processor of a transformers folder."""

from importlib.util import find_spec
from pathlib import Path

from recbole_mm.encoder.hf.image import HfImage
from recbole_mm.encoder.hf.patches import HfPatches
from recbole_mm.errors import InputError, one_line

NO_PATCHES = "encoder_max_patches is for encoders whose pictures keep their shape (SigLIP2 NaFlex, Qwen-VL)"


def load_image_processor(label: str, folder: Path, trust_remote_code: bool, max_patches: int | None = None) -> HfImage | HfPatches:
    """How the folder's image processor prepares pictures. ``max_patches``: see ``HfPatches``.

    Raises:
        InputError: see ``read_processor`` and ``prepares``.
    """
    return prepares(label, read_processor(label, folder, trust_remote_code), max_patches)


def read_processor(label: str, folder: Path, trust_remote_code: bool) -> object:
    """The folder's image processor, in its PIL version where transformers has one, so that the pixels do not depend on whether torchvision
    is installed.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    from transformers import AutoImageProcessor

    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise InputError(f"{label}: {folder} holds no preprocessor_config.json, which says how pictures are prepared for these weights")
    pinned = {"backend": "pil"} if find_spec("transformers.image_processing_backends") else {"use_fast": False}
    try:
        return AutoImageProcessor.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code, local_files_only=not trust_remote_code, **pinned
        )
    except Exception as error:
        raise InputError(f"{label}: the image processor in {folder} cannot be loaded ({one_line(error)})") from error


def prepares(label: str, processor: object, max_patches: int | None) -> HfImage | HfPatches:
    """What an image processor does to a picture.

    Raises:
        InputError: its pictures have one size and ``max_patches`` is given, or see the two classes.
    """
    if "spatial_shapes" in processor.model_input_names:
        return HfPatches(label, processor, max_patches)
    if max_patches is not None:
        raise InputError(f"{label}: {NO_PATCHES}")
    return HfImage(label, processor)
