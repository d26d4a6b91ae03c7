"""The objectives of fine-tuning: each is a loss over the units of a batch, with the head it needs."""

import torch
from torch import Tensor, nn

from recbole_mm.encoder.digests import digest_of
from recbole_mm.encoder.losses import (
    IGNORED,
    clce_loss,
    image_text_contrastive,
    image_text_matching,
    mask_tokens,
    masked_language_loss,
    supervised_contrastive,
)
from recbole_mm.encoder.pretraining_heads import PretrainingHeads
from recbole_mm.finetune.batch import Batch
from recbole_mm.finetune.copurchases import Copurchases

INTERACTION_TEMPERATURE = 0.07


class Objective(nn.Module):
    """A loss, and the head that it trains beside the encoder.

    Attributes:
        useful: bool (n_units,), the units that it learns from.
        drawn: whether its head starts from random weights.
    """

    drawn = True

    def __init__(self, useful: Tensor) -> None:
        super().__init__()
        self.useful = useful

    def forward(self, batch: Batch) -> Tensor:
        """The loss, a scalar."""
        raise NotImplementedError

    def digest(self) -> str:
        """Names the weights that the head starts from, and the data that the objective brings."""
        return digest_of([*sorted(self.state_dict().items()), *self.data().items()])

    def data(self) -> dict[str, Tensor]:
        """What the objective reads besides pictures and texts, by name."""
        return {}


class Contrastive(Objective):
    """ITC: the encoder's own image-text contrastive loss (Radford et al. 2021; with a bias SigLIP's, Zhai et al. 2023)."""

    def forward(self, batch: Batch) -> Tensor:
        return batch.encoder.contrastive_loss(batch.pair_rows, batch.same)


class Matching(Objective):
    """ITM with hard negatives: see ``image_text_matching``. Negatives are drawn uniformly if rows do not lie in one space."""

    def __init__(self, useful: Tensor, heads: PretrainingHeads) -> None:
        super().__init__(useful)
        self.head, self.drawn = heads.match, "match" in heads.drawn

    def forward(self, batch: Batch) -> Tensor:
        pixels, tokens = batch.inputs

        def logits(image: Tensor, text: Tensor) -> Tensor:
            return self.head(batch.in_chunks(lambda i, t: batch.encoder.read_pairs(pixels[i], tokens[t])[0], image, text))

        return image_text_matching(logits, batch.similarity, batch.same, batch.generator)


class MaskedLanguage(Objective):
    """MLM: tokens of a text are hidden, and predicted from the rest of it and from its picture (Bao et al., arXiv 2111.02358)."""

    def __init__(self, useful: Tensor, heads: PretrainingHeads) -> None:
        super().__init__(useful)
        self.head, self.drawn = heads.words, "words" in heads.drawn

    def forward(self, batch: Batch) -> Tensor:
        (pixels, tokens), encoder = batch.inputs, batch.encoder
        corrupted, labels = mask_tokens(tokens, encoder.special_ids, encoder.mask_id, encoder.vocabulary_size, generator=batch.generator)
        hidden = labels != IGNORED
        words = batch.in_chunks(lambda p, t, masked: encoder.read_pairs(p, t)[1][masked], pixels, corrupted, hidden)
        return masked_language_loss(self.head(words), labels[hidden])


class Categories(Objective):
    """CLCE on the units' categories (Long et al., arXiv 2402.14551), with one linear classifier per modality; the mean over modalities.

    Args:
        labels: int64 (n_units,), the category of each unit, -1 for none.
        heads: ``{modality: classifier}``.
    """

    def __init__(self, labels: Tensor, heads: dict[str, nn.Module]) -> None:
        super().__init__(labels >= 0)
        self.labels, self.heads = labels, nn.ModuleDict(heads)

    def data(self) -> dict[str, Tensor]:
        return {"labels": self.labels}

    def forward(self, batch: Batch) -> Tensor:
        losses = []
        for m, head in self.heads.items():
            here = batch.having(m)
            rows, labels = batch.rows[m][here], self.labels[batch.chosen[here]].to(batch.items.device)
            losses.append(clce_loss(rows, head(rows), labels))
        return sum(losses) / len(losses)


class SupervisedContrast(Objective):
    """Items of one category become alike, by the categories alone: see ``supervised_contrastive``. It is computed in each modality by
    itself, over two random views of each picture and each text as it is, and averaged over modalities.

    Deviation from LaCViT (Long et al., arXiv 2303.18013): the rows themselves are contrasted, without a projection that is thrown away
    afterwards, because they are what recommenders read.

    Args:
        labels: int64 (n_units,), the category of each unit, -1 for none.
    """

    def __init__(self, labels: Tensor) -> None:
        super().__init__(labels >= 0)
        self.labels = labels

    def data(self) -> dict[str, Tensor]:
        return {"labels": self.labels}

    def forward(self, batch: Batch) -> Tensor:
        losses = []
        for m in batch.units.groups:
            if len(batch.having(m)):
                rows, places = batch.views(m)
                labels = self.labels[batch.chosen[places]].to(rows.device)
                losses.append(supervised_contrastive(rows, labels, places.to(rows.device)))
        return sum(losses) / len(batch.units.groups)


class Interaction(Objective):
    """Items that the same users consumed become alike: each unit of the batch is a positive of another unit that one of its users consumed.

    Positives are those of Item2Vec (Barkan & Koenigstein, arXiv 1603.04259): any two items of one user. The loss is the symmetric
    softmax over the batch (InfoNCE: van den Oord et al., arXiv 1807.03748) on L2-normalised rows. It is computed in each modality by
    itself, because modalities need not share a space, and averaged over modalities. Units that some user consumed together, or that share
    their picture or text, are not each other's negatives. Deviation: Item2Vec has free vectors and draws negatives from a noise
    distribution.
    """

    def __init__(self, copurchases: Copurchases) -> None:
        super().__init__(copurchases.paired())
        self.copurchases = copurchases

    def data(self) -> dict[str, Tensor]:
        return self.copurchases.data()

    def forward(self, batch: Batch) -> Tensor:
        places = self.useful[batch.chosen].nonzero().squeeze(1)
        anchors = batch.chosen[places]
        partners = self.copurchases.partners(anchors, batch.generator)
        distinct, inverse = torch.unique(partners, return_inverse=True)
        others = Batch(batch.items, batch.units, distinct, batch.generator).rows
        alike, losses = self.copurchases.together(anchors, partners), []
        for groups in batch.units.groups.values():
            alike |= (groups[anchors][:, None] == groups[partners]) & (groups[partners] >= 0)
        for m, groups in batch.units.groups.items():
            here = ((groups[anchors] >= 0) & (groups[partners] >= 0)).nonzero().squeeze(1)
            left, right = batch.rows[m][places[here]], others[m][inverse[here]]
            same = alike[here][:, here].to(left.device)
            losses.append(image_text_contrastive(left, right, 1 / INTERACTION_TEMPERATURE, same=same))
        return sum(losses) / len(losses)
