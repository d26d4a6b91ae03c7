"""A comparison of CLIPRec and RecBole's BPR on the planted shop."""

from pathlib import Path

import pytest

from recbole_mm.results.compare.cells import finished, run_cell
from recbole_mm.results.compare.formats import write_leaderboard
from recbole_mm.results.compare.grid import read_grid
from recbole_mm.results.compare.leaderboard import leaderboard
from recbole_mm.testing.planted import settings, write_features, write_planted

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)><b>"
KEYS = {
    "epochs": 2, "encoder_training": "pretrained", "modalities": ["image", "text"], "learning_rate": 0.05,
    "feature_files": {"image": "a.safetensors", "text": "b.safetensors"},
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"},
}  # fmt: skip


@pytest.fixture(scope="session")
def script() -> str:
    """A title that must stay text."""
    return SCRIPT


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    """The planted shop with a category, in which every fourth item has an odd title, and i8 no picture."""
    folder = write_planted(tmp_path_factory.mktemp("report") / "shop", n_users=24, n_items=32)
    write_features(folder, ("a", "b"))
    head, *rows = (folder / "shop.item").read_text().splitlines()
    lines = [f"{head}\tcategory:token"]
    for place, row in enumerate(rows):
        token, title, description, image = row.split("\t")
        title, image = SCRIPT if place % 4 == 0 else title, "" if place == 8 else image
        lines.append("\t".join([token, title, description, image, SCRIPT if place % 2 else "blue"]))
    (folder / "shop.item").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def comparison(shop) -> Path:
    """The folder of the comparison."""
    folder = shop.parent / "comparison"
    own = {key: value for key, value in settings(shop, **KEYS).items() if key != "show_progress"}
    asked = {"dataset": "shop", "model": ["CLIPRec", "BPR"], "seed": 1, "metric": "recall@10", "settings": own}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shop.parent)
        grid, records = read_grid(asked), {}
        for cell in grid.cells:
            place = folder / "runs" / cell.name
            cell.write(place)
            run_cell(place)
            records[cell.key] = finished(place)
    write_leaderboard(leaderboard(grid, records), folder)
    return folder


@pytest.fixture(scope="session")
def checkpoints(comparison) -> list[str]:
    """Of CLIPRec, and of BPR."""
    return [str(file) for model in ("CLIPRec", "BPR") for file in comparison.glob(f"runs/{model}-*/*.pth")]
