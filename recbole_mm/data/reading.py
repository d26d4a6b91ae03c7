"""How every data set is read, ours and RecBole's: RecBole's dataset classes with ``CheckedReading`` before them."""

import importlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from recbole.data.dataset import Dataset
from recbole.utils import ModelType

RECBOLE_DATASETS = {
    ModelType.GENERAL: "Dataset",
    ModelType.SEQUENTIAL: "SequentialDataset",
    ModelType.CONTEXT: "Dataset",
    ModelType.KNOWLEDGE: "KnowledgeBasedDataset",
    ModelType.TRADITIONAL: "Dataset",
    ModelType.DECISIONTREE: "Dataset",
}


class CheckedReading:
    """A mixin that stands before one of RecBole's dataset classes.

    Args:
        vocabulary: the tokens of every field that get the first ids, in that order: those of a checkpoint, for example.
    """

    def __init__(self, config, vocabulary: Mapping[str, Sequence[str]] | None = None) -> None:
        self.vocabulary = dict(vocabulary or {})
        super().__init__(config)


def recbole_dataset(model: str, model_type: ModelType) -> type[Dataset]:
    """RecBole's dataset class for one of its models, with ``CheckedReading`` before it."""
    module = importlib.import_module("recbole.data.dataset")
    return checked(getattr(module, f"{model}Dataset", None) or getattr(module, RECBOLE_DATASETS[model_type]))


@lru_cache
def checked(base: type[Dataset]) -> type[Dataset]:
    """A dataset class of RecBole's with ``CheckedReading`` before it, under the same name."""
    return type(base.__name__, (CheckedReading, base), {"__doc__": base.__doc__, "__module__": __name__})
