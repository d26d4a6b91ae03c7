"""Internal ids that are there before a data set is read, those of a checkpoint for example; what is new or gone since is named."""

from collections.abc import Iterable, Mapping, Sequence
from logging import INFO, WARNING, getLogger

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureType

from recbole_mm.data.quick_tables import flat_tokens
from recbole_mm.errors import InputError

NAMED = 5
OF_ENTITIES = {"user_id": "user", "item_id": "item"}
"""RecBole's names of the two vocabularies whose tokens a model has parameters for, and what a token of them is called."""
logger = getLogger(__name__)


class KnownVocabulary:
    """A mixin that stands before one of RecBole's dataset classes: known tokens have the ids that they had, whatever the order of the rows.

    Known tokens that the data lack keep their ids. Users and items that are new are left out with their interactions, since a model has
    no parameters for them; other new tokens count as missing. The log names and counts them.

    Args:
        vocabulary: field -> its tokens by internal id, without the padding; of the fields that share a vocabulary, one is enough.
        new_items: whether new items stay, with the ids behind the known ones.
        named: whether the log names what is new or gone, or counts it alone.

    Attributes:
        gone_items: the ids of known items that the data lack: int64 (n,).
        first_new_item: the id of the first new item; None without any.
    """

    def __init__(self, config, vocabulary: Mapping[str, Sequence[str]] | None = None, new_items: bool = False, named: bool = True) -> None:
        self.vocabulary, self.new_items, self.named = dict(vocabulary or {}), new_items, named
        self.gone_items, self.first_new_item = torch.zeros(0, dtype=torch.int64), None
        super().__init__(config)

    def _remap_ID_all(self) -> None:
        if self.vocabulary:
            self._meet_the_data()
        super()._remap_ID_all()

    def _meet_the_data(self) -> None:
        groups = {**self.alias, **{field: [field] for field in self._rest_fields}}
        unknown = {name: self._unknown(name, fields) for name, fields in groups.items()}
        for name, tokens in unknown.items():
            if len(tokens):
                self._leave_out(name, groups[name], tokens)

    def _remap(self, remap_list: list[tuple]) -> None:
        known = self._known(field for _, field, _ in remap_list)
        if known is not None:  # the first of the values that get their ids in the order of appearance
            field = remap_list[0][1]
            remap_list = [(pd.DataFrame({field: known}, dtype=object), field, FeatureType.TOKEN), *remap_list]
        super()._remap(remap_list)

    def _known(self, fields: Iterable[str]) -> Sequence[str] | None:
        return next((self.vocabulary[field] for field in fields if field in self.vocabulary), None)

    def _unknown(self, name: str, fields: Sequence[str]) -> pd.Index:
        """The tokens of fields with one vocabulary that are not in it; none where new ones stay, which enlarges the vocabulary."""
        known, columns = self._known(fields), self._get_remap_list(fields)
        if known is None or not columns:
            return pd.Index([])
        tokens = np.concatenate([np.asarray(pd.unique(flat_tokens(table[field], kind)), dtype=object) for table, field, kind in columns])
        known, found = pd.Index(known, dtype=object), pd.Index(pd.unique(tokens), dtype=object).dropna()
        new, gone = found[~found.isin(known)], ~known.isin(found)
        if name in OF_ENTITIES and gone.any():
            n, never = int(gone.sum()), f"; {_they(gone.sum())} never recommended" if name == "item_id" else ""
            self._tell(f"{_counted(n, OF_ENTITIES[name])} of the checkpoint {_are(n)} not in the data{self._names(known[gone])}{never}")
        if name == "item_id":
            self.gone_items = torch.from_numpy(np.flatnonzero(gone) + 1)
            if self.new_items and len(new):
                what = f"{_counted(len(new), 'item')} {_are(len(new))} not in the checkpoint"
                logger.warning(f"{what}: {_named(new)}; {_they(len(new))} ranked by content")
                self.vocabulary |= {field: [*known, *new] for field in fields}
                self.first_new_item = len(known) + 1
                return pd.Index([])
        return new

    def _leave_out(self, name: str, fields: Sequence[str], tokens: pd.Index) -> None:
        """Removes the rows of new users or items; other new tokens become missing values."""
        rows, entity = len(self.inter_feat), OF_ENTITIES.get(name)
        for feat, field, kind in self._get_remap_list(fields):
            if kind == FeatureType.TOKEN_SEQ:
                lengths = feat[field].map(len)
                feat[field] = _without(feat[field], tokens)
                lost = (feat[field].map(len) == 0) & (lengths > 0)
            else:
                lost = feat[field].isin(tokens)
                if entity is None:
                    feat.loc[lost, field] = np.nan
            if entity is not None:
                self._drop(feat, lost.to_numpy())
        n, lost = len(tokens), rows - len(self.inter_feat)
        then = f"{'its' if n == 1 else 'their'} {_counted(lost, 'interaction')} {_are(lost)} left out" if lost else f"{_they(n)} left out"
        if entity is None:
            then = f"{'it counts' if n == 1 else 'they count'} as missing"
        what = _counted(n, entity or "value") + ("" if entity else f" of {name}")
        self._tell(f"{what} {_are(n)} not in the checkpoint{self._names(tokens)}; {then}")
        if not len(self.inter_feat):
            new = self._names(tokens)
            raise InputError(f"no interaction of the data set is between a user and an item of the checkpoint{new and f'{new} are new'}")

    def _tell(self, what: str) -> None:
        logger.log(WARNING if self.named else INFO, what)

    def _names(self, tokens: Iterable[str]) -> str:
        return f": {_named(tokens)}" if self.named else ""

    def _drop(self, feat: pd.DataFrame, lost: np.ndarray) -> None:
        if feat is self.inter_feat and self.benchmark_filename_list is not None:
            parts = np.split(lost, np.cumsum(self.file_size_list)[:-1])
            self.file_size_list = [int((~part).sum()) for part in parts]
        feat.drop(feat.index[lost], inplace=True)
        feat.reset_index(drop=True, inplace=True)


def _without(lists: pd.Series, tokens: pd.Index) -> pd.Series:
    """Lists of tokens without some of them."""
    flat, lengths = pd.Index(np.concatenate(lists.to_list()), dtype=object), lists.map(len)
    kept, row = ~flat.isin(tokens), np.repeat(np.arange(len(lists)), lengths)
    places = np.cumsum(np.bincount(row[kept], minlength=len(lists)))[:-1]
    return pd.Series(np.split(flat[kept].to_numpy(), places), index=lists.index, dtype=object)


def _named(tokens: Iterable[str]) -> str:
    tokens = sorted(tokens, key=lambda token: (len(token), token))
    return ", ".join(tokens[:NAMED]) + (f" and {len(tokens) - NAMED} more" if len(tokens) > NAMED else "")


def _counted(n: int, one: str) -> str:
    return f"{n} {one}{'' if n == 1 else 's'}"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _they(n: int) -> str:
    return "it is" if n == 1 else "they are"
