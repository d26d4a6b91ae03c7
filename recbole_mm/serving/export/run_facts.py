"""What an exported folder says of the run that it comes from."""

from pathlib import Path

from recbole_mm.checkpoint import load_checkpoint, plain

FINGERPRINTS = ("encoder_fingerprint", "contents_fingerprint", "made_by", "tuned_encoder")


def run_facts(checkpoint: str | Path) -> dict[str, object]:
    """The data set, the seed, the best validation metrics and the fingerprints that a checkpoint holds, ours or RecBole's."""
    state = load_checkpoint(checkpoint, pickled=True)
    config = state["config"] if isinstance(state["config"], dict) else state["config"].final_config_dict
    return {
        "dataset": config["dataset"],
        "checkpoint": Path(checkpoint).name,
        "seed": config["seed"],
        "best_valid_result": plain(state.get("best_valid_result")),
        "refit": plain(state.get("refit")),
        "fingerprints": {name: state[name] for name in FINGERPRINTS if state.get(name)},
    }
