"""The training of a run: data loaders, trainer, optimiser, checkpoints, log and cost."""
