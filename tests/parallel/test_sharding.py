"""``strategy: fsdp``: processes that hold a share of the encoder each train as those do that hold all of it."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from recbole_mm.errors import InputError
from recbole_mm.items import encoded_items as encoded
from recbole_mm.items import throughput
from recbole_mm.items.throughput import bare_throughput
from recbole_mm.parallel.ranks import Ranks, is_sharded
from recbole_mm.parallel.sharding import clip_gradients, shard, total_norm, whole
from recbole_mm.quick_start import build_trainer, load_data_and_model, run
from recbole_mm.testing.planted import built, settings, write_planted
from tests.processes import together

pytestmark = pytest.mark.usefixtures("small_encoders")
SLOW = {"epochs": 2, "metric_decimal_place": 10, "stopping_step": 50, "encoder_learning_rate": 3e-4, "strategy": "fsdp"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Small; items 5, 10, ... have no text, items 7, 14, ... no picture."""
    return write_planted(tmp_path_factory.mktemp("sharding") / "shop", n_users=16, n_items=24, missing=True)


def local(tensor: torch.Tensor) -> int:
    return (tensor.to_local() if is_sharded(tensor) else tensor).numel()


def trained(folder: Path, model: str, **keys) -> tuple[dict, dict, dict, list[int]]:
    """Validation and test results, weights, and how many of the encoder's numbers and of the optimiser's this process holds."""
    config, recommender, train, valid, test = built(folder, model, **{**SLOW, **keys})
    trainer = build_trainer(config, recommender)
    _, valid_result = trainer.fit(train, valid, verbose=False, saved=False)
    result = trainer.evaluate(test, load_best_model=False)
    encoder = recommender.item_features.encoder
    states = [trainer.optimizer.state[p]["exp_avg"] for p in encoder.parameters() if p in trainer.optimizer.state]
    held = [sum(map(local, encoder.parameters())), sum(map(local, states))]
    return dict(valid_result), dict(result), whole(recommender.state_dict()), held


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("CLIPRec", {}),
        ("CLIPRec", {"encoder": "vlmo:tiny", "modalities": ["image"], "encoder_chunk_size": 5, "gradient_checkpointing": True}),
        ("VBPR", {"encoder": "beit3:tiny", "modalities": ["joint"], "encoder_tuning": "lora", "encoder_chunk_size": 4,
                  "accumulation_steps": 2}),
        ("MGCN", {"modalities": ["image"], "encoder_chunk_size": 5}),
        ("CLIPRec", {"modalities": ["image"], "encoder_tuning": "last_k", "encoder_last_k": 1, "cache_hidden_states": True}),
    ],
)  # fmt: skip
def test_sharded_processes_are_one_with_the_doubled_batch(shop, model, keys):
    valid, test, weights, held = trained(shop, model, train_batch_size=32, **keys)
    (first_valid, first_test, found, first_held), (other_valid, other_test, _, other_held) = together(
        2, lambda: trained(shop, model, train_batch_size=16, **keys)
    )
    assert first_valid == other_valid == pytest.approx(valid, abs=1e-5) and first_test == other_test == pytest.approx(test, abs=1e-5)
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-5)
    for one, other, all_of_it in zip(first_held, other_held, held, strict=True):
        assert all_of_it <= one + other <= all_of_it + 2, "scalars are in both"
        assert max(one, other) < 0.51 * all_of_it


def test_blocks_are_whole_one_at_a_time(shop):
    """Also where chunks of a batch are computed again in the backward pass."""

    def most() -> int:
        _, model, *_ = built(shop, encoder="vlmo:tiny", encoder_chunk_size=2, **SLOW)
        blocks, counts = model.item_features.encoder.layers(), []
        for block in blocks:
            block.register_forward_pre_hook(lambda *_: counts.append(sum(not is_sharded(b.attn.proj.weight) for b in blocks)))
        rows = model.train().item_features(torch.arange(1, 13))
        sum(row.square().sum() for row in rows.values()).backward()
        chunks, modalities = 3, 2
        assert len(counts) == len(blocks) * modalities * (chunks + (chunks - 1)), "the last chunk is not computed again"
        return max(counts)

    assert together(2, most) == [1, 1]


def test_gradients_where_processes_lack_items_or_modalities(shop, monkeypatch):
    """A parameter that no process's items reach has none, as in one process, and keeps its optimiser's state."""
    monkeypatch.setattr(encoded, "ITEMS_A_CALL", 7)
    batches = ([1, 2, 3, 4], [6, 8], [6, 7], [1], [6, 11], [8, 15], list(range(1, 25)))

    def reached(**keys) -> list[dict]:
        _, model, *_ = built(shop, missing="zero", encoder_chunk_size=5, **SLOW, **keys)
        features, found = model.train().item_features, []
        for ids in batches:
            rows = features(torch.tensor(ids))
            sum((row * (1 + torch.arange(row.numel()).view_as(row) % 7)).square().sum() for row in rows.values()).backward()
            Ranks.current().average(model.encoder_parameters())
            found.append({name: whole(p.grad) for name, p in features.encoder.named_parameters() if p.grad is not None})
            model.zero_grad()
        return [*found, {m: table.clone() for m, table in model.eval().item_features.table().items()}]

    def compared(found: list[dict], expected: list[dict]) -> None:
        for own, other in zip(found, expected, strict=True):
            assert own.keys() == other.keys()
            for name, value in other.items():
                torch.testing.assert_close(own[name], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()) + 1e-7)

    alone = reached()
    assert len({len(found) for found in alone[:-1]}) > 1, "some batch has only pictures, or only texts"
    compared(together(3, reached)[0], alone)


def test_the_bare_encoder_is_timed_by_all_alike(shop):
    """Whatever each has read in training, and however long each takes."""

    def speed() -> float:
        _, model, *_ = built(shop, **SLOW)
        items, rank = model.item_features.encoded_items, Ranks.current().rank
        assert bare_throughput(items) is None
        items.largest_call = {"items": 7, "image": 0, "text": 7} if rank else {"items": 6, "image": 6, "text": 2}
        timed = throughput.seconds_of_pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(throughput, "seconds_of_pass", lambda *given: timed(*given) and (2.6, 2.4)[rank])
            return bare_throughput(items)

    assert together(2, speed) == [7 / 2.6, 7 / 2.4]


def test_norms_of_sharded_and_whole_gradients_together():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (3, 5), "bias": (3,), "other": (4, 2), "single": (1, 6)}
    gradients = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    def parameters(sharded: bool) -> dict[str, nn.Parameter]:
        made = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
        if sharded:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.tensor import Shard, distribute_tensor

            mesh = init_device_mesh("cpu", (2,))
            for name in ("weight", "bias", "single"):
                made[name] = nn.Parameter(distribute_tensor(made[name], mesh, [Shard(0)]))
                made[name].grad = distribute_tensor(gradients[name].clone(), mesh, [Shard(0)])
        for name, parameter in made.items():
            if parameter.grad is None:
                parameter.grad = gradients[name].clone()
        return made

    def clipped(sharded: bool = True) -> list:
        found = []
        for norm_type in (2.0, 1.0, float("inf")):
            made = parameters(sharded)
            norm = total_norm([p.grad for p in made.values()], norm_type)
            clip_gradients(list(made.values()), max_norm=0.5, norm_type=norm_type)
            found.append((float(norm), {name: whole(p.grad) for name, p in made.items()}))
        return found

    (first, other), alone = together(2, clipped), clipped(sharded=False)
    for norm_type, (norm, own), (same, _), (expected, plain) in zip((2.0, 1.0, float("inf")), first, other, alone, strict=True):
        reference = [nn.Parameter(torch.zeros(shape)) for shape in shapes.values()]
        for parameter, gradient in zip(reference, gradients.values(), strict=True):
            parameter.grad = gradient.clone()
        assert norm == same == pytest.approx(expected) == pytest.approx(float(clip_grad_norm_(reference, 0.5, norm_type)))
        for name, parameter in zip(shapes, reference, strict=True):
            torch.testing.assert_close(own[name], parameter.grad)
            torch.testing.assert_close(plain[name], parameter.grad)


def test_checkpoints_do_not_know_how_many_processes_wrote_them(shop):
    keys = {"epochs": 2, "metric_decimal_place": 10, "encoder_learning_rate": 3e-4, "encoder": "vlmo:tiny", "modalities": ["image"]}

    def results(folder: str, **others) -> dict:
        found = run("CLIPRec", shop.name, config_dict=settings(shop, **{**keys, "checkpoint_dir": folder, **others}))
        return {name: found[name] for name in ("best_valid_score", "best_valid_result", "test_result")}

    def scores(file: Path) -> torch.Tensor:
        _, model, _, _, _, test = load_data_and_model(str(file))
        interaction = next(iter(test))[0]
        assert is_sharded(model.item_features.encoder.layers()[0].attn.proj.weight) == (Ranks.current().world > 1)
        with torch.no_grad():
            return model.eval().full_sort_predict(interaction).clone()

    def file_in(folder: str) -> Path:
        (file,) = Path(folder).glob("*.pth")
        return file

    sharded = {"strategy": "fsdp", "train_batch_size": 16}
    straight, again = together(2, lambda: results("straight", **sharded))
    assert straight == again
    together(2, lambda: results("first", epochs=1, **sharded))
    stopped = file_in("first").read_bytes()
    go_on = {"resume": str(file_in("first")), "strategy": "fsdp"}
    assert together(2, lambda: results("first", train_batch_size=16, **go_on)) == [straight] * 2
    file_in("first").write_bytes(stopped)
    alone = results("first", train_batch_size=32, **go_on)
    for name in ("best_valid_result", "test_result"):
        assert alone[name] == pytest.approx(straight[name], abs=1e-5)
    alone = scores(file_in("straight"))
    for found in together(2, lambda: scores(file_in("straight"))):
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)


def test_what_cannot_be_sharded(shop, monkeypatch):
    _, model, *_ = built(shop, strategy="fsdp")
    assert not any(map(is_sharded, model.parameters())), "one process has it all"
    for keys in ({"encoder_training": "pretrained"}, {"encoder_tuning": "side"}, {"modalities": []}, {"encoder_learning_rate": 0}):
        with pytest.raises(InputError, match="strategy: fsdp"):
            built(shop, strategy="fsdp", **keys)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.8.1"))
    with pytest.raises(InputError, match="torch 2.9 or newer, not 2.8.1"):
        shard(model.item_features.encoder, model.item_features.encoder.layers(), torch.device("cpu"))
    with pytest.raises(InputError, match="enable_scaler"):
        built(shop, strategy="fsdp", enable_scaler=True)
    with pytest.raises(InputError, match="strategy 'fdsp'.*fsdp"):
        built(shop, strategy="fdsp")
