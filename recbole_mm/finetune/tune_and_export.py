"""``recbole-mm finetune``: an encoder tuned to a data set ahead of the runs that use it, and its weights as a file."""

from pathlib import Path

from recbole_mm.disk import write_whole
from recbole_mm.encoder.build_encoder import build_encoder
from recbole_mm.encoder.export import export_weights
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.errors import InputError
from recbole_mm.finetune.finetune_encoder import TunedEncoder, finetune_encoder
from recbole_mm.finetune.settings import FinetuneSettings
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import say


def tune_and_export(config, dataset, output: str | Path | None = None) -> TunedEncoder:
    """Does what a run with ``encoder_training: finetuned`` does before it extracts features.

    Args:
        config: a MultiModalConfig with ``encoder_training: finetuned``.
        dataset: a MultiModalDataset with the training interactions.
        output: a ``.safetensors`` file that gets the tuned weights, with LoRA merged into them; ``--encoder=backend:name@file`` uses
            them.

    Raises:
        InputError: the output cannot be written or the encoder cannot be exported (both are found before anything is trained), or see
            ``finetune_encoder``.
    """
    settings = EncoderSettings.from_config(config)
    if not settings.needed:
        raise InputError("nothing to fine-tune: modalities is empty, or feature_files brings them all")
    if output is not None:
        output = Path(output)
        if output.suffix != ".safetensors" or output.is_dir():
            raise InputError(f"--output {output}: give a file whose name ends in .safetensors")
        output.parent.mkdir(parents=True, exist_ok=True)
    tuned = finetune_encoder(FinetuneSettings.from_config(config), dataset, build_encoder(settings), to_export=output is not None)
    ranks = Ranks.current()
    if output is not None and ranks.rank == 0:
        write_whole(output, lambda file: export_weights(tuned.encoder, file))
        say(f"tuned weights exported to {output}: --encoder=backend:name@{output} uses them")
    ranks.wait()
    return tuned
