"""Known internal ids for RecBole's data sets with a knowledge graph, which moves the ids of items and entities once tokens have them."""

from recbole.data.dataset import KnowledgeBasedDataset

from recbole_mm.data.tokens import vocabularies
from recbole_mm.data.vocabulary import KnownVocabulary
from recbole_mm.errors import InputError


class KnownLinkedVocabulary(KnownVocabulary):
    """A mixin as ``KnownVocabulary``, for a KnowledgeBasedDataset. There, items that are linked to an entity have the last of the items'
    ids, and their entities have the same ones.

    Raises:
        InputError: the graph or its links to the items have changed.
    """

    def _remap_ID_all(self: KnowledgeBasedDataset) -> None:
        known = self.vocabulary
        if known:
            self.vocabulary = {**known, self.head_entity_field: self._entities(), self.relation_field: self._relations()}
        super()._remap_ID_all()
        now = vocabularies(self)
        if any(now[field] != tokens for field, tokens in known.items()):
            raise InputError("the knowledge graph or its links to the items are not those of the checkpoint: train anew")

    def _meet_the_data(self: KnowledgeBasedDataset) -> None:
        super()._meet_the_data()
        self._filter_link()

    def _entities(self: KnowledgeBasedDataset) -> list[str]:
        """The checkpoint's entities by their ids, without the items that stand among them because they are linked to none."""
        items, entities = self.vocabulary[self.iid_field], self.vocabulary[self.head_entity_field]
        linked = [entity for item, entity in zip(items, entities, strict=False) if item in self.item2entity]
        return [*linked, *entities[len(items) :]]

    def _relations(self: KnowledgeBasedDataset) -> list[str]:
        """The checkpoint's relations, without those that RecBole adds: reversed ones, and the one between users and items."""
        *relations, _ = self.vocabulary[self.relation_field]
        return relations[: len(relations) // 2] if self.kg_reverse_r else relations
