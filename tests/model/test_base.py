"""Scoring from final embeddings, and item graphs that follow the features they are made of."""

import pytest
import torch

from recbole_mm.errors import InputError
from recbole_mm.model.base import EmbeddingRecommender, nearest_mean
from recbole_mm.model.graph import knn_graph
from recbole_mm.model.item_graph import ItemGraphRecommender
from recbole_mm.model.loss import bpr_loss
from recbole_mm.model.positives import UserPositives
from recbole_mm.quick_start import build_trainer
from recbole_mm.testing.planted import built


class Counting(EmbeddingRecommender):
    """Dot products of two tables, counting how often they are asked for."""

    default_settings = {"embedding_size": 8}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users, self.items = (torch.nn.Embedding(n, config["embedding_size"]) for n in (self.n_users, self.n_items))
        self.calls = 0

    def embed(self, fresh_ids=None):
        self.calls += 1
        return 2 * self.users.weight, self.items.weight

    def calculate_loss(self, interaction):
        users, items = self.embed()
        of_users = users[interaction["user_id"]]
        positive, negative = (of_users * items[interaction[name]] for name in ("item_id", "neg_item_id"))
        return bpr_loss(positive.sum(-1), negative.sum(-1))


class Graphed(ItemGraphRecommender, Counting):
    """The same, with a graph between items that says which of its features it was made of."""

    default_settings = {"embedding_size": 8, "item_graph_every": None}

    def build_item_graph(self, features):
        assert not any(rows.requires_grad for rows in features.values())
        self.made_of = {m: rows.clone() for m, rows in features.items()}
        return {m: knn_graph(rows, 5, absent=~self.item_features.present(m)) for m, rows in features.items()}

    def calculate_loss(self, interaction):
        rows = self.item_features.table(fresh_ids=interaction["item_id"])
        return super().calculate_loss(interaction), sum(0.01 * r.pow(2).mean() for r in rows.values())


def test_embeddings_are_made_once_an_evaluation(planted):
    config, model, train, valid, test = built(planted, Counting, modalities=[], eval_batch_size=100)
    trainer = build_trainer(config, model)
    trainer._train_epoch(train, 0)
    model.calls = 0
    trainer.evaluate(test, load_best_model=False)
    assert len(test) > 5 and model.calls == 1
    trainer.evaluate(test, load_best_model=False)
    before = model.full_sort_predict({"user_id": torch.tensor([1])}).clone()
    trainer._train_epoch(train, 1)
    model.calls = 0
    trainer.evaluate(test, load_best_model=False)
    assert model.calls == 1
    assert not torch.equal(before, model.full_sort_predict({"user_id": torch.tensor([1])}))


def test_scores_follow_every_change_of_a_weight(planted):
    _, model, *_ = built(planted, Counting, modalities=[])
    pairs = {"user_id": torch.tensor([1, 2]), "item_id": torch.tensor([3, 4])}

    def truth():
        return 2 * (model.users.weight[[1, 2]] * model.items.weight[[3, 4]]).sum(-1)

    model.eval()
    with torch.no_grad():
        model.calls = 0
        torch.testing.assert_close(model.predict(pairs), truth())
        scores = model.full_sort_predict(pairs)
        assert scores.shape == (2 * model.n_items,) and model.calls == 1
        torch.testing.assert_close(scores.view(2, -1)[[0, 1], [3, 4]], truth())
        model.users.weight.mul_(3)
        torch.testing.assert_close(model.predict(pairs), truth())
        model.load_state_dict({name: torch.randn_like(value) for name, value in model.state_dict().items()})
        torch.testing.assert_close(model.predict(pairs), truth())
        model.items.weight.data = torch.randn_like(model.items.weight)
        torch.testing.assert_close(model.predict(pairs), truth())
        model.double()
        torch.testing.assert_close(model.predict(pairs), truth())
    assert model.predict(pairs).requires_grad, "with gradient, nothing is kept"
    model.train()
    with torch.no_grad():
        calls = model.calls
        model.predict(pairs), model.predict(pairs)
        assert model.calls == calls + 2, "in training, nothing is kept"


def test_an_item_graph_belongs_to_the_features_that_are_scored_with(planted):
    config, model, train, valid, test = built(planted, Graphed, modalities=["image"], encoder_learning_rate=1e-2)
    trainer = build_trainer(config, model)

    def same():
        graph, wanted = model.item_graph["image"], knn_graph(model.made_of["image"], 5)
        assert torch.equal(graph.indices, wanted.indices) and torch.equal(graph.weights, wanted.weights)
        return torch.equal(model.made_of["image"], model.item_features.eval().table()["image"])

    seen = []
    for epoch in range(3):
        trainer._train_epoch(train, epoch)
        seen.append(model.item_graph)
        model.eval()
        assert same(), "an evaluation makes it of the features it scores with"
        assert model.item_graph is model.item_graph and model.item_graph is not seen[-1]
    assert len({id(graph) for graph in seen}) == 3


@pytest.mark.parametrize("every", [None, 2])
def test_item_graphs_are_made_anew_every_so_many_steps_of_an_epoch(planted, every):
    config, model, train, *_ = built(planted, Graphed, modalities=["image"], item_graph_every=every, train_batch_size=64, epochs=2)
    trainer, graphs, made_of = build_trainer(config, model), [], []
    calculate_loss = model.calculate_loss

    def noted(interaction):
        graphs.append(model.item_graph)
        made_of.append(model.made_of["image"])
        return calculate_loss(interaction)

    for epoch in range(2):
        trainer._train_epoch(train, epoch, loss_func=noted)
    n = len(train)
    anew = [step for step in range(1, 2 * n) if graphs[step] is not graphs[step - 1]]
    assert n >= 5 and anew == [step for step in range(1, 2 * n) if step == n or (every and step % every == 0)]
    assert not any(torch.equal(made_of[step], made_of[step - 1]) for step in anew), "of the features as they are by then"


def test_a_frozen_encoders_item_graph_is_made_once(planted):
    config, model, train, _, test = built(planted, Graphed, encoder_training="pretrained")
    trainer, first = build_trainer(config, model), model.item_graph
    trainer._train_epoch(train, 0)
    trainer.evaluate(test, load_best_model=False)
    assert model.item_graph is first and set(first) == {"image", "text"}


@pytest.mark.parametrize("model_name", ["VBPR", Graphed], ids=str)
def test_models_that_need_features_say_so(planted, model_name):
    with pytest.raises(InputError, match="needs item features: modalities"):
        built(planted, model_name, modalities=[])


def test_user_positives_survive_ids_at_the_edges():
    positives = UserPositives(torch.tensor([5, 5]).numpy(), torch.tensor([9, 0]).numpy(), n_items=10)
    among = positives.among(torch.tensor([0, 5, 6]), torch.tensor([9, 0]))
    assert among.tolist() == [[False, False], [True, True], [False, False]]


@pytest.mark.parametrize("spread", [1.0, 1e-2])
def test_a_new_item_is_like_those_that_look_like_it(spread):
    """However near the items of a catalogue lie together: a copy is its original, and one between two items is between them, at their
    mean length. Items that nobody has are no neighbours."""
    torch.manual_seed(0)
    rows = torch.ones(12, 6) + spread * torch.randn(12, 6)
    vectors, among = torch.randn(12, 4), torch.ones(12, dtype=torch.bool)
    among[0] = among[5] = False
    found = nearest_mean({"a": torch.stack([rows[3], rows[5]])}, {"a": rows}, vectors, among)
    torch.testing.assert_close(found[0], vectors[3])
    assert torch.cosine_similarity(found[1], vectors[5], dim=0) < 0.99
    rows[7] = rows[8]
    middle = nearest_mean({"a": rows[7:8]}, {"a": rows}, vectors, among)[0]
    torch.testing.assert_close(middle.norm(), (vectors[7].norm() + vectors[8].norm()) / 2, rtol=1e-3, atol=0)
    torch.testing.assert_close(torch.cosine_similarity(middle, vectors[7] + vectors[8], dim=0), torch.tensor(1.0))
