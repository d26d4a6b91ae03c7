"""Settings under which an epoch on the small shop takes a moment."""

QUICK = {"modalities": ["image"], "train_batch_size": 16}
