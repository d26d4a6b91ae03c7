"""BPR in reverse: what pushes a model away from who took which item."""

import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn import functional

from recbole_mm.model.base import EmbeddingRecommender
from recbole_mm.unlearning.kept import KeptRun
from recbole_mm.unlearning.request import Forgotten
from recbole_mm.unlearning.strangers import Strangers, embeddings_with

PAIRS, FEWEST_PAIRS = 4, 256
"""How often a forgotten interaction is drawn while every kept one is once, and how many a step has at least, where there are so many."""


class ReverseLoss:
    """-log sigmoid(s(v, i) - s(u, i)) for forgotten interactions of user u and item i, v being a random one of the users who stay and have
    the item in training, or of all who stay where nobody has it. This is BPR in reverse (Sinha et al., arXiv 2405.15328), against another
    user instead of another item: an item is pushed away from who took it, is as popular as before, and suits nobody whom it did not.

    A user who goes is asked for as a stranger (see ``Strangers``), by a random half of what they had: it is the vectors of items, which all
    users share, that must not tell the other half. Their own row, which goes anyway, soon stands apart from what the items have become.

    Args:
        run: over what stays.
        forgotten: of that run.
    """

    def __init__(self, run: KeptRun, forgotten: Forgotten) -> None:
        self.run, device = run, run.model.device
        pairs = forgotten.learned.unique(dim=0)
        goes, gone = (torch.isin(ids, own) for ids, own in zip(pairs.T, (forgotten.users, forgotten.items), strict=True))
        goes &= ~gone
        goes &= torch.bincount(pairs[goes, 0], minlength=run.dataset.user_num)[pairs[:, 0]] > 1
        self.strangers = Strangers(run, pairs[goes]) if goes.any() else None
        self.pairs = pairs[~goes].to(device)
        stays = ~torch.isin(torch.arange(run.dataset.user_num), forgotten.users)
        self.others = stays.nonzero().flatten()[1:].to(device)
        users, items = (run.train_data._dataset.inter_feat[field] for field in (run.dataset.uid_field, run.dataset.iid_field))
        self.owners, counts = users[items.argsort(stable=True)].to(device), torch.bincount(items, minlength=run.dataset.item_num)
        self.n_owners, self.first = counts.to(device), (counts.cumsum(0) - counts).to(device)
        self.size = min(len(pairs), max(FEWEST_PAIRS, PAIRS * -(-len(pairs) // len(run.train_data))))

    def refresh(self) -> None:
        """Follows the model where it is not asked in every step."""
        if self.strangers is not None:
            self.strangers.refresh()

    def __call__(self) -> Tensor:
        """Of a random sample of the forgotten interactions, with gradient: a scalar."""
        excess = []
        if len(self.pairs):
            drawn = torch.randperm(len(self.pairs), device=self.pairs.device)[: self.size]
            excess.append(self._of_rows(*self.pairs[drawn].T))
        if self.strangers is not None:
            excess.append(self.strangers.beside_others(self.size, self._owners_of))
        return functional.softplus(torch.cat(excess)).mean()

    def _of_rows(self, users: Tensor, items: Tensor) -> Tensor:
        own, other = self._scores(torch.cat([users, self._owners_of(items)]), items.repeat(2)).split(len(items))
        return own - other

    def _owners_of(self, items: Tensor) -> Tensor:
        """A random user who stays and has the item, for each of some items (n,)."""
        others = self.others[torch.randint(len(self.others), (len(items),), device=items.device)]
        counts = self.n_owners[items]
        places = self.first[items] + (torch.rand(len(items), device=items.device) * counts).long()
        return torch.where(counts > 0, self.owners[places.clamp_max(len(self.owners) - 1)], others)

    def _scores(self, users: Tensor, items: Tensor) -> Tensor:
        """Those of pairs of a user and an item: (n,)."""
        model, dataset = self.run.model, self.run.dataset
        if isinstance(model, EmbeddingRecommender):
            of_users, of_items = embeddings_with(model, items)
            return (of_users[users] * of_items[items]).sum(-1)
        pairs = Interaction({dataset.uid_field: users.cpu(), dataset.iid_field: items.cpu()})
        return model.predict(dataset.join(pairs).to(model.device))
