"""Small data sets of interactions alone, and what a run makes of them."""

from pathlib import Path

from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.training.loaders import create_dataset

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
USERS, ITEMS = 6, 5
BY_TIME = {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "TO", "mode": "full"}


def interactions() -> list[list[str]]:
    """Every user with every item, in a rising order of time; the ratings are 1 to 5 in turn."""
    pairs = [(u, i) for u in range(USERS) for i in range(ITEMS)]
    return [[f"u{u}", f"i{i}", str((u + i) % 5 + 1), str(1000 * (n + 1))] for n, (u, i) in enumerate(pairs)]


def write(folder: Path, rows: list[list[str]] | None = None, header: str = HEADER, suffix: str = "inter", **how) -> Path:
    """Writes a file of a data set. ``how``: the separator, the encoding, the end of lines."""
    folder.mkdir(parents=True, exist_ok=True)
    separator, end = how.get("separator", "\t"), how.get("end", "\n")
    lines = [header.replace("\t", separator), *(separator.join(row) for row in (interactions() if rows is None else rows))]
    text = end.join(lines) + end
    (folder / f"{folder.name}.{suffix}").write_bytes(text.encode(how.get("encoding", "utf-8")))
    return folder


def config(folder: Path, model: str = "BPR", **keys) -> MultiModalConfig:
    """The configuration of a run; ours learn from ids alone, and SASRec needs no negatives."""
    own = {"modalities": []} if model == "CLIPRec" else {"train_neg_sample_args": None} if model in ("SASRec", "GRU4Rec") else {}
    basics = {"data_path": str(folder.parent), "use_gpu": False, "show_progress": False}
    return MultiModalConfig(model, folder.name, config_dict={**basics, **own, **keys})


def read(folder: Path, model: str = "BPR", **keys):
    """The data set that a run reads."""
    return create_dataset(config(folder, model, **keys))


def pairs(dataset) -> list[tuple[str, str]]:
    """The tokens of user and item of every interaction."""
    columns = (dataset.id2token(field, list(dataset.inter_feat[field])) for field in (dataset.uid_field, dataset.iid_field))
    return [(str(user), str(item)) for user, item in zip(*columns, strict=True)]
