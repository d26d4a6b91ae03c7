"""What a trained model scores: the whole catalogue for users that it knows, and for histories of anybody."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from recbole_mm.errors import InputError
from recbole_mm.serving.histories import Histories
from recbole_mm.serving.new_users import UserMap
from recbole_mm.serving.similarities import ItemSimilarities


class Scores:
    """The scores of a trained model, from the model itself or from what an export holds of it.

    Args:
        name: of the model.
        n_items: the number of items, padding included.
        histories: of the model's users.
        similarities: of the items, for a model that scores by them.
    """

    def __init__(self, name: str, n_items: int, histories: Histories, similarities: ItemSimilarities | None) -> None:
        self.name, self.n_items, self.histories, self.similarities = name, n_items, histories, similarities
        self._vectors: tuple[Tensor, Tensor] | None = None
        self._user_map: UserMap | None = None

    @abstractmethod
    def of_users(self, users: Tensor) -> Tensor:
        """Scores of known users (n,) and the catalogue: (n, n_items), on the CPU. A sequential model reads all that a user has."""

    def of_histories(self, histories: Sequence[Tensor], times: Sequence[Tensor] | None = None) -> Tensor:
        """Scores of anybody who has these items, the oldest first: (n, n_items), on the CPU.

        Args:
            times: of the items, for a sequential model; None where they are not known.

        Raises:
            InputError: the model has no way to score for users that it was not trained with.
        """
        if self.similarities is not None:
            return self.similarities.of_histories(histories)
        if self.reads_histories:
            return self._read(histories, times)
        items = self.vectors()[1]
        return self.user_vectors(histories, items) @ items.T

    @property
    def reads_histories(self) -> bool:
        """Whether the model itself reads what a user has, so that it needs no vectors of users."""
        return self.similarities is not None

    @property
    @abstractmethod
    def are_products(self) -> bool:
        """Whether the scores of users are known to be the product of ``vectors()``, so that the model need not be asked."""

    @property
    @abstractmethod
    def has_repeat_bias(self) -> bool:
        """Whether the score of an item that a user has already is the product of ``vectors()`` and a bias."""

    def vectors(self) -> tuple[Tensor, Tensor]:
        """The vectors of users (n_users, d) and items (n_items, d) whose dot product is the score, on the CPU (see ``has_repeat_bias``).

        Raises:
            InputError: the model's score is no dot product.
        """
        if self._vectors is None:
            found = None if self.similarities is not None else self._find_vectors()
            if found is None:
                raise InputError(f"{self.name} has no vectors of users and items: its score is no dot product")
            self._vectors = found
        return self._vectors

    def has_vectors(self) -> bool:
        """Whether the model's score is a dot product of vectors."""
        try:
            self.vectors()
        except InputError:
            return False
        return True

    def user_vectors(self, histories: Sequence[Tensor], items: Tensor, times: Sequence[Tensor] | None = None) -> Tensor:
        """Vectors (n, d) of anybody who has these items, which are rows of ``items`` (m, d), as ``of_histories`` takes them.

        Raises:
            InputError: the model's score is no dot product.
        """
        if self._user_map is None:
            self._user_map = UserMap.fitted(*self.vectors(), self.histories)
        return self._user_map(histories, items)

    @abstractmethod
    def _find_vectors(self) -> tuple[Tensor, Tensor] | None:
        """What ``vectors`` returns; None for a model whose score is no dot product."""

    @abstractmethod
    def _read(self, histories: Sequence[Tensor], times: Sequence[Tensor] | None) -> Tensor:
        """What ``of_histories`` returns, of a model that reads histories itself."""
