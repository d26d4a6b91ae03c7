"""What fine-tuning learns from: the distinct contents of a catalogue, and which of them are held out."""

from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Generator, Tensor

from recbole_mm.items.inputs import EncoderInputs


class Units:
    """The distinct contents (pairs of a picture and a text) of a catalogue, each of them a unit. Their order depends on the contents
    alone: items that are renamed, reordered or listed twice change nothing.

    Attributes:
        names: the digests that name each of the n units, one per modality.
        ids: int64 (n,), an item that has this content.
        groups: ``{modality: int64 (n,)}``: units with the same picture (text) have the same number, those without one have -1.
        of_item: int64 (n_items,), the unit of every item; -1 for items without any content.
    """

    def __init__(self, inputs: EncoderInputs) -> None:
        names = list(zip(*(inputs.digests(m) for m in inputs.modalities), strict=True))
        place = {name: unit for unit, name in enumerate(sorted({name for name in names if any(name)}))}
        self.names = list(place)
        self.of_item = torch.tensor([place.get(name, -1) for name in names])
        first = {int(unit): item for item, unit in reversed(list(enumerate(self.of_item))) if unit >= 0}
        self.ids = torch.tensor([first[unit] for unit in range(len(place))], dtype=torch.int64)
        self.groups = {m: _numbered([name[i] for name in self.names]) for i, m in enumerate(inputs.modalities)}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pairs(self) -> Tensor:
        """bool (n,): which units have both a picture and a text."""
        if not {"image", "text"} <= set(self.groups):
            return torch.zeros(len(self), dtype=torch.bool)
        return (self.groups["image"] >= 0) & (self.groups["text"] >= 0)


class Split(NamedTuple):
    """Which units are held out from training.

    Attributes:
        held: bool (n,), the units that are held out.
        trained: bool (n,), the units that may be trained on.
        mixed: whether single units had to be held out, which share a picture or a text with units that are trained on.
    """

    held: Tensor
    trained: Tensor
    mixed: bool


def hold_out(units: Units, among: Tensor, share: float, seed: int) -> Split:
    """Holds out about ``share`` of some units, at least two; none for a share of 0.

    Units that share a picture or a text, such as the colours of a shirt, form a family. A family is held out or trained on as a whole, so
    that no part of a held-out unit is seen in training: the units of its family that may not be held out are not trained on either. If
    families are too large for that, single units are drawn.

    Args:
        among: bool (n,), the units that may be held out.
    """
    held, among = torch.zeros(len(units), dtype=torch.bool), among.nonzero().squeeze(1)
    quota = max(2, round(share * len(among))) if share and len(among) else 0
    families = _families(units)
    for numbers, mixed in ((families, False), (torch.arange(len(units)), True)):
        members = _filled(numbers[among], quota, generator_for(seed, "held out"))
        if int(members.sum()) >= min(2, quota):
            held[among[members]] = True
            return Split(held, ~torch.isin(numbers, numbers[held]), mixed)
    return Split(held, ~held, False)


def generator_for(*parts: object) -> Generator:
    """A random generator for one purpose: a seed and whatever else tells it apart."""
    digest = blake2b(" ".join(map(str, parts)).encode(), digest_size=7).digest()
    return Generator().manual_seed(int.from_bytes(digest, "big"))


def _filled(family: Tensor, quota: int, generator: Generator) -> Tensor:
    """bool (n,): members of families that are drawn at random; a family that would exceed the quota is skipped."""
    sizes = torch.bincount(family)
    taken, count = torch.zeros(len(sizes), dtype=torch.bool), 0
    for number in torch.randperm(len(sizes), generator=generator).tolist():
        if 0 < int(sizes[number]) <= quota - count:
            taken[number] = True
            count += int(sizes[number])
    return taken[family]


def _families(units: Units) -> Tensor:
    """int64 (n,): the connected component of each unit in the graph of shared pictures and texts."""
    from scipy.sparse.csgraph import connected_components  # which loads scipy.linalg

    n, edges, nodes = len(units), [], len(units)
    for groups in units.groups.values():
        here = (groups >= 0).nonzero().squeeze(1)
        edges.append(torch.stack([here, groups[here] + nodes]))
        nodes += int(groups.max()) + 1
    rows, columns = torch.cat(edges, 1).numpy()
    graph = csr_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(nodes, nodes))
    return torch.from_numpy(connected_components(graph, directed=False)[1][:n].astype(np.int64))


def _numbered(names: list[str]) -> Tensor:
    numbers = {name: i for i, name in enumerate(sorted(set(names) - {""}))}
    return torch.tensor([numbers.get(name, -1) for name in names], dtype=torch.int64)
