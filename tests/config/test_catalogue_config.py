"""The keys and files of a run, as the commands take them that train no recommender."""

from pathlib import Path

import pytest
import torch

from recbole_mm.cli import main
from recbole_mm.config.catalogue_config import EXTRACTION, FINE_TUNING, CatalogueConfig
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.errors import InputError
from recbole_mm.testing.planted import built, settings
from tests.processes import together

RUN = "strategy: fsdp\nencoder_tuning: last_k\nencoder_last_k: 1\ncache_hidden_states: True\nuse_id: False\nn_layers: 2\n"


def config(folder: Path, *more: str, named: str | None = None, instead: dict | None = None, **keys) -> CatalogueConfig:
    (folder.parent / "run.yaml").write_text(RUN + "".join(f"{key}: {value}\n" for key, value in keys.items()))
    arguments = [f"--{key}={value}" for key, value in settings(folder).items()]
    return CatalogueConfig(named, folder.name, [str(folder.parent / "run.yaml")], [*arguments, *more], instead)


@pytest.mark.parametrize("instead", [EXTRACTION, FINE_TUNING], ids=["extract", "finetune"])
def test_nothing_trains_along_with_a_recommender(planted, instead):
    """What goes with such an encoder is for the run that the file is shared with."""
    own = "finetuned" if instead is FINE_TUNING else "pretrained"
    read = config(planted, instead=instead)
    assert (read["encoder_training"], read["encoder_tuning"], read["encoder_last_k"]) == (own, "last_k", 1)
    assert (read["strategy"], read["cache_hidden_states"]) == ("ddp", False)
    assert config(planted, encoder_training="finetuned", instead=EXTRACTION)["encoder_training"] == "finetuned"
    as_run = config(planted)
    assert (as_run["encoder_training"], as_run["strategy"], as_run["cache_hidden_states"]) == ("end2end", "fsdp", True)
    with pytest.raises(InputError, match="encoder_training 'endtoend'"):
        config(planted, encoder_training="endtoend", instead=instead)
    with pytest.raises(InputError, match="encoder_tuning: side"):
        config(planted, "--encoder_tuning=side", "--cache_hidden_states=False", instead=FINE_TUNING)


def test_the_model_is_the_runs_where_it_has_an_encoder(planted):
    assert config(planted)["model"] == config(planted, named="LightGCN")["model"] == "CLIPRec"
    assert config(planted, named="VBPR")["model"] == config(planted, model="VBPR")["model"] == "VBPR"
    with pytest.raises(InputError, match="VBPPR.*'VBPR'"):
        config(planted, named="VBPPR")


@pytest.mark.parametrize("command", ["extract", "finetune", "audit"])
def test_keys_of_any_model_are_taken(planted, tmp_path, command):
    arguments = [f"--{key}={str(value).replace(' ', '')}" for key, value in settings(planted, finetune_epochs=1).items()]
    more = [f"--cache_dir={tmp_path}", "--n_layers=2", "--use_id=False", "--cache_hidden_states=True", "--encoder_tuning=last_k"]
    assert main([command, f"--dataset={planted.name}", "--model=VBPR", *arguments, *more]) == 0


def test_an_encoder_that_does_not_train_is_on_its_device_in_every_process(planted):
    """The meta device stands for a GPU."""

    def device() -> tuple[bool, str]:
        config, *_ = built(planted, strategy="fsdp")
        config["encoder_training"], config["device"] = "finetuned", torch.device("meta")
        encoder = EncoderSettings.from_config(config, processes=2)
        return encoder.sharded, next(build_encoder(encoder).parameters()).device.type

    assert together(2, device) == [(False, "meta")] * 2
