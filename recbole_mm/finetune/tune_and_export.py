"""``recbole-mm finetune``: an encoder tuned to a data set, ahead of the runs that use it, and out of the store into a weights file."""

from logging import getLogger
from pathlib import Path

from recbole_mm.config.modalities import from_encoder
from recbole_mm.disk import write_whole
from recbole_mm.encoder.build import build_encoder, chunk_size
from recbole_mm.encoder.export import export_weights
from recbole_mm.errors import InputError
from recbole_mm.finetune import apply
from recbole_mm.finetune.apply import Tuned
from recbole_mm.parallel.ranks import Ranks


def finetune(config, dataset, output: str | Path | None = None) -> Tuned:
    """What a run with ``encoder_training: finetuned`` does before it extracts features.

    Args:
        dataset: a MultiModalDataset with the training interactions.
        output: a ``.safetensors`` file that gets the tuned weights, LoRA merged into them; ``--encoder=backend:name@file`` takes them.

    Raises:
        InputError: an output that cannot be written or an encoder that cannot be exported (said before anything is trained), or see
            ``recbole_mm.finetune.apply``.
    """
    if from_encoder(config) == []:
        raise InputError("nothing to fine-tune: modalities is empty, or feature_files brings them all")
    if output is not None:
        output = Path(output)
        if output.suffix != ".safetensors" or output.is_dir():
            raise InputError(f"--output {output}: a file whose name ends in .safetensors")
        output.parent.mkdir(parents=True, exist_ok=True)
    tuned = apply.finetune(config, dataset, build_encoder(config), chunk_size(config), exported=output is not None)
    ranks = Ranks.current()
    if output is not None and ranks.rank == 0:
        write_whole(output, lambda file: export_weights(tuned.encoder, file))
        getLogger().info(f"tuned weights exported to {output}: --encoder=backend:name@{output} takes them")
    ranks.wait()
    return tuned
