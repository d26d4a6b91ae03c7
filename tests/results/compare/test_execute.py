"""Cells in processes of their own, on this machine and as tasks of Ray."""

from pathlib import Path

import pandas as pd
import pytest

from recbole_mm import compare
from recbole_mm.results.compare import execute
from recbole_mm.results.compare.execute import LOG

MEASURED = ["seconds", "peak_memory_mib"]


@pytest.fixture(scope="module")
def two(grid) -> dict:
    return {**grid, "model": "BPR", "modalities": "a"}


@pytest.fixture(scope="module")
def local(two, tmp_path_factory) -> pd.DataFrame:
    return compare(two, tmp_path_factory.mktemp("local") / "out", workers=2)


def test_cells_run_in_two_processes(local):
    assert local["seeds"].tolist() == [2, 0] and local["recall@10 sd"].notna().all()


def test_ray_gives_the_same_leaderboard(two, local, tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        table = compare(two, "out", executor="ray", workers=2)
    finally:
        ray.shutdown()
    pd.testing.assert_frame_equal(table.drop(columns=MEASURED), local.drop(columns=MEASURED))


@pytest.mark.parametrize(
    ("status", "log", "reason"),
    [
        (2, "a line\nerror: no room\n", "no room"),
        (1, "Traceback ...\nValueError: broken\n", "ValueError: broken"),
        (-9, "", "its process was ended by signal 9, perhaps for lack of memory"),
        (1, "", "its process ended with status 1 and said nothing"),
    ],
)
def test_why_a_process_has_failed(status, log, reason, tmp_path):
    Path(LOG).write_text(log)
    assert execute._reason(status, tmp_path / LOG) == reason
