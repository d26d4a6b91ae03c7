"""How every data set is read, ours and RecBole's: RecBole's dataset classes with ``CheckedReading`` before them."""

import importlib
from functools import lru_cache

from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
from recbole.utils import ModelType

from recbole_mm.data.checked_files import CheckedFiles
from recbole_mm.data.checked_filters import CheckedFilters
from recbole_mm.data.linked_vocabulary import KnownLinkedVocabulary
from recbole_mm.data.quick_sequences import QuickSequences
from recbole_mm.data.quick_split import QuickSplit
from recbole_mm.data.quick_tables import QuickTables
from recbole_mm.data.stored_split import StoredSplit
from recbole_mm.data.time_order import TimeOrder
from recbole_mm.data.vocabulary import KnownVocabulary

RECBOLE_DATASETS = {
    ModelType.GENERAL: "Dataset",
    ModelType.SEQUENTIAL: "SequentialDataset",
    ModelType.CONTEXT: "Dataset",
    ModelType.KNOWLEDGE: "KnowledgeBasedDataset",
    ModelType.TRADITIONAL: "Dataset",
    ModelType.DECISIONTREE: "Dataset",
}


class CheckedReading(StoredSplit, KnownVocabulary, CheckedFiles, CheckedFilters, TimeOrder, QuickTables, QuickSplit):
    """A mixin that stands before one of RecBole's dataset classes. Its arguments are those of ``StoredSplit``."""


def recbole_dataset(model: str, model_type: ModelType) -> type[Dataset]:
    """RecBole's dataset class for one of its models, with ``CheckedReading`` before it."""
    module = importlib.import_module("recbole.data.dataset")
    return checked(getattr(module, f"{model}Dataset", None) or getattr(module, RECBOLE_DATASETS[model_type]))


@lru_cache
def checked(base: type[Dataset]) -> type[Dataset]:
    """A dataset class of RecBole's with ``CheckedReading`` before it, under the same name."""
    mixins = [CheckedReading]
    if issubclass(base, KnowledgeBasedDataset):
        mixins.append(KnownLinkedVocabulary)
    if getattr(base, "data_augmentation", None) is SequentialDataset.data_augmentation:  # and not of a model of its own
        mixins.append(QuickSequences)
    return type(base.__name__, (*mixins, base), {"__doc__": base.__doc__, "__module__": __name__})


def __getattr__(name: str) -> type[Dataset]:
    """``checked`` classes by their names, by which pickle finds them (in the processes of a data loader, for example)."""
    base = getattr(importlib.import_module("recbole.data.dataset"), name, None)
    if not (isinstance(base, type) and issubclass(base, Dataset)):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return checked(base)
