"""Stop a run after two epochs and go on to four: the results equal those of a run that never stopped.

A checkpoint holds the weights, the optimiser's state and all random states, so nothing is lost by an interruption. Here the text
side of a small CLIP trains along with the recommender.
"""

import os
from pathlib import Path

from recbole_mm import run

SETTINGS = {"modalities": ["text"], "train_batch_size": 2048, "encoder_warmup_steps": 0, "show_progress": False, "state": "WARNING"}


def train(name: str, **keys) -> dict:
    """Runs with a folder of its own for checkpoints, and prints the result on the test part."""
    result = run("CLIPRec", "demo", config_dict={**SETTINGS, **keys, "checkpoint_dir": f"saved/{name}"})["test_result"]
    print(f"{name}: {dict(result)}")
    return result


straight = train("straight", epochs=4)
train("stopped", epochs=2)
checkpoint = max(Path("saved/stopped").glob("*.pth"), key=os.path.getmtime)
resumed = train("resumed", epochs=4, resume=checkpoint)
print("resumed equals straight:", resumed == straight)
