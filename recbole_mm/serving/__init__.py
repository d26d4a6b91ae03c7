"""From a checkpoint to recommendations."""
