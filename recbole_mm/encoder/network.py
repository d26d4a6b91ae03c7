"""What optimisers and recommenders need to know of any network that gives rows of features."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class FeatureNetwork(nn.Module, ABC):
    """A network of towers of blocks that end in rows of features: an encoder, or a side network beside a frozen encoder.

    Attributes:
        name: the name that the user gave, for messages.
        aligned: image and text rows lie in one space, so that ``contrastive_loss`` has a meaning.
        from_scratch: its weights are random (a tiny encoder's), so it wants larger learning rates than a pretrained one.
        adapters: bottlenecks that a tuning has put after or beside modules of the network; each names the module as ``site``.
    """

    name: str = "encoder"
    aligned: bool = False
    from_scratch: bool = False
    adapters: Sequence[nn.Module]

    def __init__(self) -> None:
        super().__init__()
        self.adapters = ()

    @abstractmethod
    def towers(self) -> list[list[nn.Module]]:
        """The transformer blocks (or stages) of each tower, in order from input to output, the image tower first. An encoder whose
        modalities share their blocks has one tower. ``forward`` calls them as modules, so that their hooks run."""

    @abstractmethod
    def head(self) -> list[str]:
        """Names of the parameters that come after the last block on the way to the rows: final norms and projections."""

    @abstractmethod
    def contrastive_loss(self, features: dict[str, Tensor], same: Tensor | None = None) -> Tensor:
        """Symmetric contrastive loss over image and text rows, (n, d) each, of items that have both. ``same``: bool (n, n), the pairs of
        items that share their picture or their text, and so are not each other's negatives."""
