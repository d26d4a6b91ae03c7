"""The contract finds what is wrong with a model or an encoder, and names it."""

import pytest
import torch
from torch import nn

from examples.own_encoder import Colours
from examples.own_recommender import TasteRec
from recbole_mm.encoder import factory, register_backend
from recbole_mm.errors import InputError
from recbole_mm.model.sequential.base import SequenceRecommender
from recbole_mm.testing import ContractError, check_encoder, check_model, encoder_demands, model_demands
from recbole_mm.testing.demands import Demand, meet


def unmet(demands: list[Demand]) -> str:
    with pytest.raises(ContractError) as error:
        meet("it", demands)
    return str(error.value)


def of_model(model: type, *names: str) -> list[Demand]:
    found = [demand for demand in model_demands(model) if any(name in demand.name for name in names)]
    assert len(found) == len(names)
    return found


class Cut(TasteRec):
    """Its gradient ends before the encoder, as in the authors' code."""

    def project(self, features):
        return super().project({m: rows.detach() for m, rows in features.items()})


class Padding(TasteRec):
    """Pairs of a user and an item get other scores than the catalogue."""

    def predict(self, interaction):
        return super().predict(interaction) + 1


class Unsteady(TasteRec):
    """What it starts from does not hang on the seed."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        with torch.no_grad():
            self.tastes.weight.add_(float(torch.seed() % 97))


def test_a_model_that_meets_the_contract():
    meet(
        "TasteRec",
        of_model(TasteRec, "(end2end, image+text)", "(pretrained, image)", "same seed, same model; checkpoint, same scores (pretrained)"),
    )


def test_a_gradient_that_does_not_reach_the_encoder():
    assert "the loss sends no gradient to the encoder" in unmet(of_model(Cut, "(end2end, image)"))


def test_scores_that_differ():
    assert "predict and full_sort_predict differ" in unmet(of_model(Padding, "(pretrained, image)"))


def test_a_model_that_is_another_each_time():
    assert "the same seed gives other scores" in unmet(of_model(Unsteady, "checkpoint, same scores (pretrained)"))


class Means(SequenceRecommender):
    """What a user is after some items is their mean: it overlooks the order."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.initialise()

    def encode(self, rows, histories):
        return rows.cumsum(1) / torch.arange(1, rows.shape[1] + 1).unsqueeze(1)


class Foresight(Means):
    """What a user is after the first item hangs on the last one."""

    def encode(self, rows, histories):
        return rows.sum(1, keepdim=True).expand_as(rows) + rows.shape[0]


def test_a_sequence_model_of_ones_own():
    meet("Means", of_model(Means, "(pretrained, three files)", "no state depends on later items", "a history has the same scores alone"))
    assert "ranked right after" in unmet(of_model(Means, "finds what comes next (pretrained)"))
    assert "change with the items after them" in unmet(of_model(Foresight, "no state depends on later items"))
    assert "in a batch than alone" in unmet(of_model(Foresight, "a history has the same scores alone"))


class Mixing(Colours):
    """A row depends on the other items of the batch."""

    def forward(self, inputs):
        return {m: rows - rows.mean(0) for m, rows in super().forward(inputs).items()}


class Random(Colours):
    def forward(self, inputs):
        return {m: nn.functional.dropout(rows) for m, rows in super().forward(inputs).items()}


class Wrong(Colours):
    output_dims = {"image": 31}

    def head(self):
        return ["projection.wheight"]


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Mixing, "another row of image in a batch than alone"),
        (Random, "image has other rows the second time"),
        (Wrong, "not (4, 31)"),
        (Wrong, "head() names ['projection.wheight'], which it does not have"),
    ],
)
def test_encoders_that_do_not_meet_it(cls, told, monkeypatch):
    monkeypatch.setattr(factory, "_backends", {**factory._backends})
    register_backend("broken")(lambda name, source, *, seed=0: made(cls, seed))
    assert told in unmet(encoder_demands("broken:x"))


def made(cls: type, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls().eval()


def test_a_whole_encoder():
    check_encoder("colours:small")


@pytest.mark.parametrize(("model", "told"), [("BPR", "BPR is no MultiModalRecommender"), ("CLIPRek", "did you mean 'CLIPRec'")])
def test_a_model_that_is_none_of_ours_is_one_line(model, told):
    with pytest.raises(InputError, match=told):
        check_model(model)


def test_an_exception_is_one_line_and_the_cause():
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(ContractError, match="it does not meet 1 of 2 demands\n- breaks: KeyError: 'x'$") as error:
        meet("it", [Demand("breaks", fails), Demand("holds", lambda: None)])
    assert isinstance(error.value.__cause__, KeyError)
