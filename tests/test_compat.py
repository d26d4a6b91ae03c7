"""Each shim answers a line of RecBole, and does nothing where it is not needed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from recbole_mm.compat import libraries
from recbole_mm.compat.recbole_modules import without_ray
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.errors import InputError, MissingPackage
from recbole_mm.quick_start import build_model, create_dataset, data_preparation
from recbole_mm.testing.planted import built
from tests.config.test_fuzz import OWN, WORKING, write_shop


def test_a_program_of_recboles_own_is_mended_by_importing_this_package_after_recbole():
    """``OLD_SCRIPT`` imports it before, and nothing else of this package either."""
    code = "import recbole.config, recbole_mm, numpy, scipy.sparse\nassert numpy.float_ and scipy.sparse.dok_matrix._update"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


def test_public_names_are_imported_when_asked_for():
    import recbole_mm

    assert all(getattr(recbole_mm, name) for name in recbole_mm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = recbole_mm.runn


def test_what_recbole_reads_of_numpy_is_there_once_recbole_is_imported():
    import recbole  # noqa: F401

    assert np.float_ is np.float64 and np.complex_ is np.complex128 and np.unicode_ is np.str_


def test_a_numpy_that_has_them_is_left_alone(monkeypatch):
    monkeypatch.setattr(np, "float_", "mine", raising=False)
    libraries.fix_numpy()
    assert np.float_ == "mine"


def test_dok_matrix_update():
    matrix = scipy.sparse.dok_matrix((2, 3), dtype=np.float32)
    matrix._update({(0, 1): 2.0, (1, 2): 3.0})
    assert matrix.toarray().tolist() == [[0, 2, 0], [0, 0, 3]]


def test_dok_matrix_that_has_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(scipy.sparse.dok_matrix, "_update", "mine", raising=False)
    libraries.fix_scipy()
    assert scipy.sparse.dok_matrix._update == "mine"


def test_torchvision_whose_library_loads_is_left_alone(monkeypatch):
    monkeypatch.setattr(libraries, "_declared", [])
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    libraries.fix_torchvision()
    assert libraries._declared == []


def test_recbole_reads_its_own_checkpoints_and_nobody_elses_load_changes(tmp_path):
    import recbole.trainer.trainer as module

    torch.save({"config": pytest.approx(1)}, tmp_path / "own.pth")
    assert "config" in module.torch.load(tmp_path / "own.pth")
    assert module.torch.Tensor is torch.Tensor
    with pytest.raises(Exception, match="weights_only|Weights only"):
        torch.load(tmp_path / "own.pth")


def test_cudnn_plans_no_attention_for_every_size_of_batch():
    import recbole_mm.config.multimodal_config  # noqa: F401

    assert not torch.backends.cuda.cudnn_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()


OLD_SCRIPT = """
import sys
import recbole_mm, recbole.config, numpy, scipy.sparse
assert numpy.float_ and scipy.sparse.dok_matrix._update
import torch
from recbole.model.sequential_recommender import SINE
assert not torch.is_anomaly_enabled(), "importing sequential models leaves torch's anomaly mode alone"
import torchvision.transforms, PIL.Image
torchvision.transforms.Resize(4)(PIL.Image.new("RGB", (8, 8)))
sys.modules["ray"] = None  # as where no wheel of ray fits
from recbole.quick_start import load_data_and_model, run_recbole
columns = {"inter": ["user_id", "item_id", "rating"]}
keys = {"data_path": sys.argv[1], "checkpoint_dir": sys.argv[1], "epochs": 1, "load_col": columns}
result = run_recbole(model="BPR", dataset="shop", config_dict=keys)
loaded = load_data_and_model(str(next(__import__("pathlib").Path(sys.argv[1]).glob("BPR*.pth"))))
assert loaded[1].user_embedding.weight.shape[0] == 21 and result["test_result"]
ratings = loaded[2].inter_feat["rating"]
assert not ratings.isnan().any() and 0.9 < float(ratings.mean()) < 1, "missing numbers are the mean of the others"
"""


def test_a_script_of_recboles_own_runs_and_loads_its_checkpoint(tmp_path):
    (tmp_path / "shop").mkdir()
    rows = "".join(f"u{u}\ti{(u + k) % 12}\t{'' if k else u % 3}\n" for u in range(20) for k in range(10))
    (tmp_path / "shop" / "shop.inter").write_text("user_id:token\titem_id:token\trating:float\n" + rows)
    root = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", OLD_SCRIPT, str(tmp_path)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": root},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_where_ray_is_absent_something_stands_in_for_it_that_says_so(monkeypatch):
    for name in ("ray", "ray.tune"):
        monkeypatch.setitem(sys.modules, name, None)
    with without_ray():
        from ray import tune
    with pytest.raises(ImportError, match="ray cannot be imported"):
        tune.report()
    assert "ray" not in sys.modules


def test_without_recbole_one_line_says_how_to_get_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "recbole"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingPackage, match="pip install --no-deps recbole==1.2.1"):
        import recbole  # noqa: F401


def test_the_case_study_ranks_for_users_without_an_item_in_the_test(planted):
    """Against the scores of the model itself, without what each user has had in training and validation."""
    from recbole.utils.case_study import full_sort_topk

    config, model, train, _, test = built(planted, "CLIPRec", modalities=[], encoder=None, loss_type="BPR")
    dataset = test.dataset
    users, absent = range(1, dataset.user_num), 3
    test.uid2history_item[absent] = None  # as RecBole's loader has it for a user without a row in the test part
    scores, items = full_sort_topk(users, model, test, k=5)
    had = set(test._sampler.used_ids[absent])
    own = model.full_sort_predict({model.USER_ID: torch.tensor([absent])}).view(-1)
    allowed = [i for i in range(1, dataset.item_num) if i not in had]
    assert scores.shape == items.shape == (len(users), 5)
    assert set(items[absent - 1].tolist()) == set(sorted(allowed, key=lambda i: -own[i])[:5])


def test_the_case_study_refuses_users_without_a_sequence_instead_of_ranking_for_others(tmp_path):
    from recbole.utils.case_study import full_sort_topk

    folder = write_shop(tmp_path)
    with open(folder / "tiny.inter", "a", encoding="utf-8") as file:
        file.write("lonely\ti1\t5\t1000\n")
    given = {**WORKING, **OWN["SASRec"], "data_path": str(tmp_path), "val_interval": None}
    config = MultiModalConfig("SASRec", "tiny", None, {**given, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}}, [])
    dataset = create_dataset(config)
    train, _, test = data_preparation(config, dataset)
    model = build_model(config, train)
    known, lonely = dataset.token2id("user_id", ["u3", "lonely"])
    assert full_sort_topk([known], model, test, k=3)[1].shape == (1, 3)
    with pytest.raises(InputError, match="1 of 2 users have no sequence .*lonely"):
        full_sort_topk([known, lonely], model, test, k=3)
