"""TrainedFeatures: the features of a frozen encoder, or of files, as parameters that train along."""

from logging import getLogger

from torch import Tensor, nn

from recbole_mm.feature import ItemFeatures

logger = getLogger(__name__)


class TrainedFeatures(nn.Module):
    """The features of a catalogue, {modality: (n_items, d)}, that start at what ``features`` says; asked for as ItemFeatures are."""

    def __init__(self, features: ItemFeatures) -> None:
        super().__init__()
        self.rows = nn.ParameterDict({m: nn.Parameter(rows.detach().clone()) for m, rows in features.table().items()})

    @classmethod
    def where(cls, wanted: bool, features: ItemFeatures) -> "TrainedFeatures | None":
        """None where they are not wanted, and where a live encoder trains in their place."""
        if wanted and features.trainable:
            logger.info("legacy_trained_features has no effect: the encoder that makes the features trains")
        return cls(features) if wanted and not features.trainable else None

    def forward(self, item_ids: Tensor) -> dict[str, Tensor]:
        return {m: rows[item_ids] for m, rows in self.rows.items()}

    def table(self, fresh_ids: Tensor | None = None) -> dict[str, Tensor]:
        return dict(self.rows.items())
