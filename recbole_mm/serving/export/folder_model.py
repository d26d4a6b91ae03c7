"""The model of an exported folder, once it is needed."""

from functools import cached_property
from pathlib import Path

from recbole_mm.serving.export.layout import SETTINGS
from recbole_mm.serving.export.model_folder import load_model


class FolderModel:
    """The model of an exported folder.

    Args:
        folder: the exported one.
        model_class: the class of the model, if it is neither one of ours nor one of RecBole's.

    Attributes:
        loaded: config, model and data set (see ``load_model``). Asking for it raises an InputError where the folder holds no model.
    """

    def __init__(self, folder: Path, model_class: type | None = None) -> None:
        self.folder, self.model_class = folder, model_class

    def __bool__(self) -> bool:
        """Whether the folder holds a model."""
        return (self.folder / SETTINGS).is_file()

    @cached_property
    def loaded(self) -> tuple:
        return load_model(self.folder, self.model_class)
