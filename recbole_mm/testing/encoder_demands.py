"""What every encoder must do, whatever its backend: rows, gradients, names, loss, and one name for what it is."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from recbole_mm.config.modalities import READABLE
from recbole_mm.encoder import ItemEncoder, JointEncoder
from recbole_mm.errors import InputError
from recbole_mm.testing.demands import Demand, refused, require
from recbole_mm.testing.input_demands import InputChecks
from recbole_mm.testing.model_measures import loss_of
from recbole_mm.testing.odd_items import ORDINARY, inputs_of
from recbole_mm.testing.planted import built
from recbole_mm.testing.shops import Shops


class EncoderChecks:
    """Checks of one encoder.

    Args:
        name: what ``create_encoder`` and ``--encoder`` take.
        create: makes it from a seed.
        shops: the data over which it trains in a recommender.
    """

    def __init__(self, name: str, create: Callable[[int], ItemEncoder], shops: Shops) -> None:
        self.name, self.create, self.shops = name, create, shops
        self.encoder = create(1)

    def demands(self) -> list[Demand]:
        """All demands that the encoder's modalities allow."""
        found = [
            Demand("what it says about itself fits together", self.says_what_it_is),
            *(Demand(f"one row per item and modality ({n} items, {dtype})", partial(self.one_row_per_item, n, dtype))
              for n in (4, 0) for dtype in (torch.float32, torch.float64)),
            Demand("eval mode is deterministic, and modalities do not meet", self.is_deterministic),
            Demand("a batch equals its items one by one", self.rows_do_not_meet),
            Demand("every layer of every tower gets a gradient", self.gradients_reach_every_layer),
            Demand("its names exist", self.names_exist),
            Demand("the contrastive loss prefers pairs", self.loss_prefers_pairs),
            Demand("the seed decides random weights, and nothing else is drawn", self.seed_decides),
            Demand("any change of weights changes the fingerprint", self.weights_change_the_fingerprint),
            Demand("it trains inside a recommender", self.trains_in_a_recommender),
        ]  # fmt: skip
        return found + InputChecks(self.encoder).demands()

    def own(self) -> ItemEncoder:
        return copy.deepcopy(self.encoder)

    def says_what_it_is(self) -> None:
        e = self.encoder
        require(isinstance(e, ItemEncoder), "it is no ItemEncoder")
        require(not e.training, "it is made in training mode; call eval()")
        require(e.modalities and set(e.modalities) <= set(READABLE), f"modalities {e.modalities} are not some of {READABLE}")
        require(list(e.output_dims) == list(e.modalities), f"output_dims {dict(e.output_dims)} are not those of {e.modalities}")
        require((e.image_size is not None) == ("image" in e.modalities), "image_size is for encoders that read pictures, and only for them")
        require((e.pad_id is not None) == ("text" in e.modalities), "pad_id is for encoders that read texts, and only for them")
        require(isinstance(e, JointEncoder) == ("joint" in e.modalities), "an encoder of the modality joint is a JointEncoder")

    def one_row_per_item(self, n: int, dtype: torch.dtype) -> None:
        own = self.own().to(dtype)
        inputs = {m: tuple(v[:n] for v in values) if m == "joint" else values[:n] for m, values in inputs_of(own).items()}
        for modality, values in inputs.items():
            rows = own({modality: values})
            require(list(rows) == [modality], f"asked for {modality}, it gives {list(rows)}")
            rows, shape = rows[modality], (n, own.output_dims[modality])
            require(rows.shape == shape, f"{modality} has rows of shape {tuple(rows.shape)}, not {shape}")
            require(rows.dtype == dtype, f"{modality} has rows of {rows.dtype}, not {dtype}")
            require(rows.isfinite().all(), f"{modality} has rows that are not finite")
            rows.sum().backward()

    @torch.no_grad()
    def is_deterministic(self) -> None:
        inputs = inputs_of(self.encoder)
        first, again = self.encoder(inputs), self.encoder(inputs)
        for modality in inputs:
            require(torch.equal(first[modality], again[modality]), f"{modality} has other rows the second time")
            alone = self.encoder({modality: inputs[modality]})[modality]
            require(torch.equal(first[modality], alone), f"{modality} has other rows without the other modalities")
            require(not torch.equal(first[modality][0], first[modality][1]), f"two items have the same row of {modality}")

    @torch.no_grad()
    def rows_do_not_meet(self) -> None:
        inputs = inputs_of(self.encoder)
        whole, pixels = self.encoder(inputs), inputs.get("image")
        for i, text in enumerate(ORDINARY):
            alone = self.encoder(inputs_of(self.encoder, [text], None if pixels is None else pixels[i : i + 1]))
            for modality, rows in alone.items():
                require(_close(rows[0], whole[modality][i]), f"item {i} has another row of {modality} in a batch than alone")

    def gradients_reach_every_layer(self) -> None:
        own = self.own().train()
        sum(rows.pow(2).sum() for rows in own(inputs_of(own)).values()).backward()
        towers, parameters = own.towers(), dict(own.named_parameters())
        require(towers and all(towers), "towers() has no blocks")
        require(own.layers() == [block for tower in towers for block in tower], "layers() are not the blocks of towers()")
        for place, block in enumerate(own.layers()):
            reached = any(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
            require(reached, f"block {place} of layers() gets no gradient")
        without = [name for name in own.head() if parameters[name].requires_grad and parameters[name].grad is None]
        require(not without, f"{without} of head() get no gradient")

    def names_exist(self) -> None:
        e = self.encoder
        modules, parameters = dict(e.named_modules()), dict(e.named_parameters())
        inside = {id(module) for block in e.layers() for module in block.modules()}
        of_blocks = {id(parameter) for block in e.layers() for parameter in block.parameters()}
        linear, sites, head = e.linear_layers(), e.adapter_sites(), e.head()
        for what, found, known in (("linear_layers", linear, modules), ("adapter_sites", sites, modules), ("head", head, parameters)):
            require(len(set(found)) == len(found), f"{what}() names something twice")
            require(set(found) <= set(known), f"{what}() names {sorted(set(found) - set(known))}, which it does not have")
        maps = all(isinstance(modules[name], nn.Linear | nn.MultiheadAttention | nn.Conv2d) for name in linear)
        require(linear and maps, "linear_layers() are linear maps, attentions or convolutions")
        require(
            sites and all(id(modules[name]) in inside for name in [*linear, *sites]), "linear_layers() and adapter_sites() are in blocks"
        )
        require(head or not e.aligned, "an aligned encoder has a head()")
        require(all(id(parameters[name]) not in of_blocks for name in head), "head() lies above the blocks")

    def loss_prefers_pairs(self) -> None:
        e = self.encoder
        rows = {m: torch.randn(6, e.output_dims[m], generator=torch.Generator().manual_seed(0)) for m in e.modalities}
        if e.aligned:
            paired, crossed = (e.contrastive_loss({"image": rows["image"], "text": rows["image"].roll(i, 0)}) for i in (0, 1))
            require(paired < crossed, "the contrastive loss of pairs is not below that of strangers")
        else:
            refused(InputError, lambda: e.contrastive_loss(rows), "without a shared space, contrastive_loss is refused")

    def seed_decides(self) -> None:
        state, scratch = torch.get_rng_state(), self.encoder.from_scratch
        require(self.create(1).fingerprint() == self.encoder.fingerprint(), "the same seed gives another fingerprint")
        other = self.create(2).fingerprint() != self.encoder.fingerprint()
        require(other == scratch, f"another seed gives {'another' if other else 'the same'} fingerprint, and from_scratch is {scratch}")
        require(torch.equal(state, torch.get_rng_state()), "making it changes torch's global random state (see torch.random.fork_rng)")

    def weights_change_the_fingerprint(self) -> None:
        own = self.own()
        seen, parameters = {own.fingerprint()}, dict(own.named_parameters())
        names = list(parameters)
        chosen = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))[:6].tolist()
        for name in (names[i] for i in {0, len(names) - 1, *chosen}):
            before = len(seen)
            with torch.no_grad():
                parameters[name].view(-1)[-1].add_(1e-3)
            seen.add(own.fingerprint())
            require(len(seen) == before + 1, f"another {name} gives the same fingerprint")
        require(copy.deepcopy(own).train().fingerprint() in seen, "training mode gives another fingerprint")

    def trains_in_a_recommender(self) -> None:
        keys = {"encoder": self.name, "use_id": False, "checkpoint_dir": str(self.shops.folder / "saved"), "train_batch_size": 32}
        _, model, train, *_ = built(self.shops.small, "CLIPRec", **keys)
        loss_of(model, next(iter(train))).backward()
        reached = [p for p in model.item_features.encoder.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        require(reached, "CLIPRec's loss sends no gradient to it")


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))
