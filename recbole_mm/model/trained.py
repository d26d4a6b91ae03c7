"""TrainedFeatures: features that come from a frozen encoder or from files, as parameters that train with the recommender."""

from collections.abc import Mapping
from logging import getLogger

from torch import Tensor, nn
from torch.nn import functional

from recbole_mm.feature import ItemFeatures

logger = getLogger(__name__)


class TrainedFeatures(nn.Module):
    """The features of a catalogue, {modality: (n_items, d)}, which start at the values of ``features`` and are read like ItemFeatures."""

    def __init__(self, features: ItemFeatures) -> None:
        super().__init__()
        self.rows = nn.ParameterDict({m: nn.Parameter(rows.detach().clone()) for m, rows in features.table().items()})

    @classmethod
    def where(cls, wanted: bool, features: ItemFeatures) -> "TrainedFeatures | None":
        """The features if they are ``wanted``; None otherwise, and where an encoder trains in their place."""
        if wanted and features.trainable:
            logger.info("legacy_trained_features has no effect, since the encoder that makes the features trains")
        return cls(features) if wanted and not features.trainable else None

    def forward(self, item_ids: Tensor) -> dict[str, Tensor]:
        return {m: rows[item_ids] for m, rows in self.rows.items()}

    def projected(self, maps: Mapping[str, tuple[Tensor, Tensor | None]], item_ids: Tensor | None = None,
                  fresh_ids: Tensor | None = None) -> dict[str, Tensor]:  # fmt: skip
        rows = self.table(fresh_ids) if item_ids is None else self(item_ids)
        return {m: functional.linear(rows[m], *maps[m]) for m in rows}

    def table(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        return dict(self.rows.items())
