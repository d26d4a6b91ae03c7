"""An exported folder follows its run: it is exported anew, in place, without the forgotten."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from logging import getLogger
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from recbole_mm.checkpoint import load_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.serving.export.layout import FEATURES, ITEMS, USERS, read_manifest
from recbole_mm.serving.export.tables import read_column
from recbole_mm.serving.export.write import write_folder
from recbole_mm.serving.index import faiss
from recbole_mm.serving.item_source import ModelSource
from recbole_mm.serving.journal import AddedItem, Entry, Journal
from recbole_mm.serving.parts import Parts
from recbole_mm.training.trained_data import TOKENS
from recbole_mm.unlearning.request import Request


class ExportedFolder:
    """An exported folder whose run is to forget something.

    Args:
        path: the folder.
        checkpoint: of the run.

    Attributes:
        added: the tokens of the items that its journal names: those that were added to it since, or removed.

    Raises:
        InputError: it is no exported folder, or was exported from another run.
        MissingPackage: it has an index, and FAISS is not installed.
    """

    def __init__(self, path: Path, checkpoint: str | Path) -> None:
        self.path, self._manifest = path, read_manifest(path)
        self._tokens = [str(token) for token in read_column(path / ITEMS, "item")]
        _check_run(path, self._manifest, self._tokens, Path(checkpoint))
        if self._manifest["index"]:
            faiss()
        self.added = frozenset(entry.item for entry in Journal(path).news())

    def without_added(self, request: Request) -> Request:
        """What of a request is for the run to forget: all but the items that were only added to the folder."""
        only = self.added - set(self._tokens)
        return replace(request, items={token: place for token, place in request.items.items() if token not in only})

    def follow(self, parts: Parts, facts: Mapping[str, object], items: Collection[str], show_progress: bool = False) -> None:
        """Exports a run into the folder, with the options that it was exported with. Items that were added to the folder stay, with the
        vectors that the run gives them; services over the folder must be started again.

        Args:
            parts: of the run that has forgotten (see ``run_parts``).
            facts: see ``run_facts``.
            items: tokens of forgotten items, whether the run had them or they were added later.

        Raises:
            InputError: see ``write_folder``.
        """
        index = self._manifest["index"] or {"kind": "flat"}
        parts.items.take_features()
        write_folder(parts, self.path, facts, self._manifest["with_encoder"], index["kind"], show_progress,
                     lambda: self._journal(parts, items))  # fmt: skip

    def _journal(self, parts: Parts, items: Collection[str]) -> list[Entry]:
        """What the journal of the new folder begins with."""
        entries = [entry for entry in Journal(self.path).news() if entry.item not in items]
        added = [entry for entry in entries if isinstance(entry, AddedItem)]
        if not added:
            return entries
        if self._encodes_otherwise(parts):
            getLogger(__name__).warning(f"{self.path}: {len(added)} items were added since it was exported, and keep the features that the "
                                        "encoder gave them then; add them again to have them encoded anew")  # fmt: skip
        renewed = iter(_renewed(parts.items.source, added))
        return [next(renewed) if isinstance(entry, AddedItem) else entry for entry in entries]

    def _encodes_otherwise(self, parts: Parts) -> bool:
        """Whether the items that stay have other features than they had."""
        before, rows = load_file(self.path / FEATURES), {token: row for row, token in enumerate(self._tokens, 1)}
        tokens = parts.items.served.tokens[1 : parts.items.served.n_known]
        stayed = torch.tensor([rows[token] for token in tokens])
        present = {m: parts.items.features(m)[1][1:] for m in parts.items.modalities}
        return any(not torch.allclose(parts.items.features(m)[0][1:][here], before[m][stayed][here], rtol=1e-4, atol=1e-5)
                   for m, here in present.items())  # fmt: skip


def _check_run(path: Path, manifest: Mapping[str, object], items: Sequence[str], checkpoint: Path) -> None:
    state = load_checkpoint(checkpoint, pickled=True)
    known = [[str(token) for token in read_column(path / USERS, "user")], list(items)]
    told = [list(tokens) for tokens in state.get(TOKENS, {}).values()]
    if manifest["checkpoint"] != checkpoint.name or not all(tokens in told for tokens in known):
        raise InputError(f"{path} was exported from {manifest['checkpoint']}, which is not {checkpoint}: name the checkpoint that it was "
                         "exported from, or export the unlearned one by itself")  # fmt: skip


def _renewed(source: ModelSource, added: Sequence[AddedItem]) -> list[AddedItem]:
    """Added items with the features that stand in for what they lack, and with the vectors, that the source gives them."""
    features = {m: torch.from_numpy(np.stack([item.features[m] for item in added])) for m in added[0].features}
    present = {m: torch.tensor([item.present[m] for item in added]) for m in features}
    features = source.completed(features, present)
    vectors = source.vectors(features).numpy()
    return [replace(item, vector=vectors[i], features={m: rows[i].numpy() for m, rows in features.items()}) for i, item in enumerate(added)]
