"""Several processes train and evaluate as one does."""

import re
from pathlib import Path

import pytest
import torch
from recbole.config import Config

from recbole_mm import quick_start
from recbole_mm.cli import main
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError
from recbole_mm.parallel import launch
from recbole_mm.parallel.launch import starts_others
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.quick_start import build_trainer, load_data_and_model, objective_function, run
from recbole_mm.testing.planted import built, settings, write_planted
from tests.processes import together

pytestmark = pytest.mark.usefixtures("small_encoders")
SLOW = {"epochs": 2, "metric_decimal_place": 10, "stopping_step": 50, "encoder_learning_rate": 3e-4}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Small, with pictures and texts missing here and there."""
    return write_planted(tmp_path_factory.mktemp("processes") / "shop", n_users=16, n_items=24, missing=True)


def trained(folder: Path, model: str, **keys) -> tuple[dict, dict, dict, int]:
    """Validation and test results, weights, and how many items this process encoded."""
    config, recommender, train, valid, test = built(folder, model, **SLOW, **keys)
    trainer = build_trainer(config, recommender)
    _, valid_result = trainer.fit(train, valid, verbose=False, saved=False)
    result = trainer.evaluate(test, load_best_model=False)
    return dict(valid_result), dict(result), recommender.state_dict(), trainer.account.encoding.items


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("CLIPRec", {}),
        ("CLIPRec", {"modalities": ["image"], "loss_type": "BPR", "encoder_chunk_size": 5, "missing": "mean"}),
        ("VBPR", {"encoder": "beit3:tiny", "modalities": ["joint"], "learning_rate_schedule": "cosine", "accumulation_steps": 2}),
        ("MGCN", {"modalities": ["image"]}),
        ("LATTICE", {"encoder_training": "pretrained"}),
        ("CLIPRec", {"modalities": ["image"], "encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True}),
        ("VBPR", {"modalities": ["image"], "encoder_tuning": "side", "side_noise": 0, "missing": "zero"}),
        ("CLIPRec", {"fusion": "cross", "encoder_training": "pretrained"}),
        ("SASRecM", {"modalities": ["image"], "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}),
    ],
)
def test_two_processes_are_one_with_the_doubled_batch(shop, model, keys):
    valid, test, weights, items = trained(shop, model, train_batch_size=32, **keys)
    found = together(2, lambda: trained(shop, model, train_batch_size=16, **keys))
    for other_valid, other_test, other_weights, _ in found:
        assert other_valid == pytest.approx(valid, abs=1e-5) and other_test == pytest.approx(test, abs=1e-5)
        for name, value in weights.items():
            torch.testing.assert_close(other_weights[name], value, rtol=1e-3, atol=2e-5)
    if not {"encoder_training", "encoder_tuning"} & set(keys):  # others find the first run's rows and states in the store
        shares = [own for *_, own in found]
        assert sum(shares) == items and min(shares) > 0


def test_a_model_gets_the_same_metrics_from_any_number_of_processes(shop):
    keys = {"epochs": 1, "metric_decimal_place": 12, "eval_batch_size": 50, "modalities": ["image"]}
    _, model, train, _, test = built(shop, "CLIPRec", **keys)
    state = model.state_dict()

    def evaluated() -> dict:
        config, again, train, _, test = built(shop, "CLIPRec", **keys)
        again.load_state_dict(state)
        trainer = build_trainer(config, again)
        trainer.eval_collector.data_collect(train)
        return dict(trainer.evaluate(test, load_best_model=False))

    alone = evaluated()
    assert all(found == alone for n in (2, 3) for found in together(n, evaluated))


def test_more_processes_than_users_or_items(shop):
    def few() -> list:
        ranks = Ranks.current()
        rows = torch.arange(2.0).view(2, 1)[ranks.slice(2)].requires_grad_()
        whole = ranks.gather(rows, [len(range(2)[ranks.slice(2, rank)]) for rank in range(3)])
        (whole * torch.tensor([[3.0], [5.0]])).sum().backward()
        return whole.tolist(), rows.grad.tolist()

    found = together(3, few)
    assert [whole for whole, _ in found] == [[[0.0], [1.0]]] * 3
    assert sum((gradient for _, gradient in found), []) == [[9.0], [15.0]], "times the processes: Ranks.average takes it back"


def test_gradients_are_averaged_and_what_none_reached_stays_without():
    def averaged() -> list:
        ranks = Ranks.current()
        parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
        parameters[0].grad = torch.full((2,), 1.0 + ranks.rank)
        parameters[1].grad = torch.ones(2) if ranks.rank else None
        ranks.average(parameters)
        return [None if p.grad is None else p.grad.tolist() for p in parameters]

    assert together(2, averaged) == [[[1.5, 1.5], [0.5, 0.5], None]] * 2


def test_processes_draw_their_own_numbers_beside_common_ones():
    def drawn() -> list[float]:
        torch.manual_seed(1)
        own = []
        for step in range(2):
            with Ranks.current().own_randomness(step):
                own.append(torch.rand(1).item())
        return [*own, torch.rand(1).item()]

    (one, later, common), (other, again, same) = together(2, drawn)
    torch.manual_seed(1)
    assert len({one, other, later, again}) == 4 and common == same == torch.rand(1).item()


def test_the_first_process_writes(shop):
    def written() -> float:
        keys = {"epochs": 1, "train_batch_size": 64, "modalities": ["image"]}
        return run("CLIPRec", shop.name, config_dict=settings(shop, **keys))["best_valid_score"]

    first, second = together(2, written)
    assert first == second
    assert [len(list(Path(pattern).glob("*"))) for pattern in ("saved", "log/CLIPRec", "log_tensorboard")] == [3, 1, 1]
    (file,) = Path("saved").glob("*.pth")
    config, *_ = load_data_and_model(str(file))
    assert config["train_batch_size"] == 64


def test_nproc_on_the_command_line(shop, capfd):
    keys = settings(shop, epochs=1, nproc=2, modalities="image", state="INFO", metrics="Recall,NDCG")
    arguments = [f"--{key}={value}".replace(" ", "") for key, value in keys.items()]
    assert main(["run", "--model=CLIPRec", f"--dataset={shop.name}", *arguments]) == 0
    said = capfd.readouterr().out
    assert said.count(" metric ") == 1 and len(re.findall(r"^  cost +encoding", said, re.MULTILINE)) == 1
    assert len(list(Path("saved").glob("*.pth"))) == 1


def test_a_process_of_torchrun_trains_whatever_nproc_says(shop, monkeypatch):
    """It gets its device by RecBole's choice, for which a process that only starts others does not ask."""
    asked = []
    monkeypatch.setattr(Config, "_init_device", lambda self: asked.append(self["nproc"]) or self.final_config_dict.update(device=None))
    keys = settings(shop, use_gpu=True)
    MultiModalConfig("CLIPRec", shop.name, config_dict={**keys, "nproc": 4})
    assert not asked
    monkeypatch.setenv("WORLD_SIZE", "1")
    MultiModalConfig("CLIPRec", shop.name, config_dict={**keys, "nproc": 4})
    assert asked == [4] and not starts_others(4)


def test_a_trial_of_hyper_tuning_is_quiet_in_several_processes_too(shop, capfd, monkeypatch):
    """Here the processes are forked, which is faster than to start them as ``launch`` does."""
    monkeypatch.setattr(quick_start, "launch", lambda nproc, _, work, arguments: together(nproc, lambda: work(*arguments))[0])
    keys = settings(shop, epochs=1, nproc=2, modalities=["image"], state="INFO", model="CLIPRec", dataset=shop.name)
    result = objective_function(keys)
    assert result["model"] == "CLIPRec" and result["best_valid_score"] > 0 and " metric " not in capfd.readouterr().out


def test_what_is_wrong_in_a_process_comes_back_as_one_line(shop, tmp_path):
    keys = settings(shop, image_field="nowhere")
    with pytest.raises(SystemExit):
        launch._run(run, ("CLIPRec", shop.name, None, keys, True), str(tmp_path / "complaint"))
    assert "nowhere" in (tmp_path / "complaint").read_text()


@pytest.mark.parametrize("keys", [{"nproc": 0}, {"nproc": "two"}, {"world_size": 2}, {"ip": "localhost"}, {"port": 5678}])
def test_bad_numbers_of_processes(shop, keys):
    with pytest.raises(InputError, match="|".join(keys)):
        built(shop, "CLIPRec", **keys)
    with pytest.raises(InputError, match="RecBole's"):
        built(shop, "BPR", nproc=2)
