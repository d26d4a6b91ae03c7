"""Frozen parts of an encoder run without dropout; parts that train keep theirs."""

import pytest
import torch
from torch import nn

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.encoder.tuning.tune import tune
from tests.hf_folders import write_bert


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("resting") / "bert")


def tuned(folder, tuning: str, separate: bool = False, **sizes) -> ItemEncoder:
    encoder = create_encoder(f"separate:image=open_clip:tiny,text=hf:{folder}" if separate else f"hf:{folder}")
    tune(encoder, tuning, **sizes)
    return encoder.train()


def dropouts(encoder: ItemEncoder) -> dict[str, bool]:
    """Which parts of BERT have dropout at work: its embeddings, and its two blocks."""
    found: dict[str, set[bool]] = {"embeddings": set(), "layer.0.": set(), "layer.1.": set()}
    for name, module in encoder.named_modules():
        for part, states in found.items():
            if isinstance(module, nn.Dropout) and part in name:
                states.add(module.training)
    assert all(len(states) == 1 for states in found.values())
    return {part: states.pop() for part, states in found.items()}


WORK = {
    "full": (True, True, True),
    "last_k": (False, False, True),
    "lora": (False, True, True),
    "adapter": (False, True, True),
    "multiway": (False, True, True),
    "bitfit": (True, True, True),
}


@pytest.mark.parametrize("separate", [False, True], ids=["alone", "separate"])
@pytest.mark.parametrize("tuning", WORK)
def test_dropout_is_at_work_where_something_trains(bert_folder, tuning, separate):
    encoder = tuned(bert_folder, tuning, separate, **({"last_k": 1} if tuning == "last_k" else {}))
    assert tuple(dropouts(encoder).values()) == WORK[tuning]
    assert tuple(dropouts(encoder.eval()).values()) == (False, False, False)
    rows = [encoder.train()({"text": encoder.tokenize(["red boots"])})["text"] for _ in range(2)]
    assert not torch.equal(*rows)


def test_an_encoder_that_is_frozen_altogether_gives_the_same_rows_in_training(bert_folder):
    encoder = tuned(bert_folder, "full").requires_grad_(False)
    token_ids = encoder.tokenize(["red boots", "silk"])
    torch.testing.assert_close(*(encoder.train(mode)({"text": token_ids})["text"] for mode in (True, False)))


def test_what_surrounds_a_block_that_trains_stays_in_training_mode(bert_folder):
    encoder = tuned(bert_folder, "last_k", last_k=1)
    assert encoder.training and encoder.model.training and encoder.model.encoder.training, "gradient checkpointing asks them"
    assert not encoder.model.embeddings.training
