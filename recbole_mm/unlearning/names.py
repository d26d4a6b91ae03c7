"""What is forgotten, by the names that files have for it."""

from typing import NamedTuple

from recbole_mm.data.tokens import item_tokens, user_tokens


class Names(NamedTuple):
    """Tokens of what is forgotten.

    Attributes:
        users, items: those that are forgotten altogether.
        pairs: the user and the item of every interaction that goes, those of ``users`` and ``items`` included.
    """

    users: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()
    pairs: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, dataset, forgotten) -> "Names":
        """Those of internal ids.

        Args:
            dataset: one that has these ids.
            forgotten: ``users``, ``items`` (n,) and ``pairs`` (n, 2) as int64 tensors.
        """
        users, items = user_tokens(dataset), item_tokens(dataset)
        pairs = frozenset((users[user], items[item]) for user, item in forgotten.pairs.tolist())
        return cls(frozenset(users[i] for i in forgotten.users.tolist()), frozenset(items[i] for i in forgotten.items.tolist()), pairs)
