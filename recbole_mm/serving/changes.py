"""Items added to a recommender and removed from it, in memory and in the journal of the folder that it came from."""

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import groupby
from threading import RLock

from recbole_mm.serving.catalogue import Catalogue
from recbole_mm.serving.journal import AddedItem, Entry, Journal
from recbole_mm.serving.served_items import ServedItems


class Changes:
    """The way by which items come and go.

    Args:
        served: the items of the recommender.
        catalogue: gives what people see of them.
        journal: of the folder; None for a checkpoint, whose changes end with the process.

    Attributes:
        lock: whoever holds it sees the items as they are, since no change is taken over meanwhile.
    """

    def __init__(self, served: ServedItems, catalogue: Callable[[], Catalogue], journal: Journal | None) -> None:
        self.served, self.catalogue, self.journal, self.lock = served, catalogue, journal, RLock()

    def make(self, batch: Sequence[Entry]) -> None:
        """Makes changes, all of them at once; with a journal, they are on the disk when this returns.

        Raises:
            JournalError, OSError: see ``Journal.append``.
        """
        if self.journal is None:
            with self.lock:
                self._take(batch)
        elif batch:
            self.journal.append(batch)
            self.refresh()

    def refresh(self) -> None:
        """Takes over what this process and others have journalled.

        Raises:
            JournalError: see ``Journal.news``.
        """
        if self.journal is not None:
            with self.lock:
                self._take(self.journal.news())

    def _take(self, batch: Sequence[Entry]) -> None:
        for kind, entries in groupby(batch, type):
            if kind is AddedItem:
                items = list(entries)
                for item in items:
                    self.catalogue().add(item.item, item.title, item.thumbnail)
                self.served.add(items)
            else:
                tokens = [entry.item for entry in entries]
                self.served.remove(tokens)
                for token in tokens:
                    self.catalogue().remove(token)


def up_to_date(method):
    """Lets a method of a recommender see all changes that have been made before, and none while it works."""

    @wraps(method)
    def current(recommender, *arguments, **keywords):
        with recommender.changes.lock:
            recommender.changes.refresh()
            return method(recommender, *arguments, **keywords)

    return current
