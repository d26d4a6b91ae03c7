"""A student beside its teacher: how fast each encodes the catalogue, and how well a recommender does over each."""

import torch
from recbole.utils import init_seed

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.content import ItemContent
from recbole_mm.encoder import ItemEncoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.items.inputs import EncoderInputs
from recbole_mm.items.raw_items import RawItems
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.quick_start import build_model, build_trainer, create_dataset, data_preparation

TIMED = 1024
"""The most items that are encoded to measure the speed."""
PASSES = 2


@torch.no_grad()
def seconds_to_encode(encoder: ItemEncoder, content: ItemContent, modalities: list[str], settings: EncoderSettings) -> float:
    """The seconds of forward passes over the whole catalogue: the best of two passes over up to 1024 items, scaled to all. Pictures and
    token ids are in memory."""
    encoder.to(settings.device).eval()
    inputs = EncoderInputs(encoder, content, modalities, settings.show_progress)
    items = RawItems(encoder, inputs, chunk_size=settings.chunk_size, precision=settings.precision, ranks=Ranks())
    having = torch.stack(list(inputs.present.values())).any(0).nonzero().squeeze(1)
    some = having[torch.linspace(0, len(having) - 1, min(len(having), TIMED)).long()].to(items.device)
    items.encode(some[:8])
    spent = []
    for _ in range(PASSES):
        started = items.cost.seconds
        items.encode(some)
        spent.append(items.cost.seconds - started)
    return min(spent) * len(having) / len(some)


def validated(config: MultiModalConfig) -> float:
    """Trains the recommender of a configuration. Returns its best result on validation, in ``valid_metric``."""
    init_seed(config["seed"], config["reproducibility"])
    train_data, valid_data, _ = data_preparation(config, create_dataset(config))
    trainer = build_trainer(config, build_model(config, train_data))
    _, best = trainer.fit(train_data, valid_data, verbose=False, saved=False, show_progress=False)
    return float(best[config["valid_metric"].lower()])
