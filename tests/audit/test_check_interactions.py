"""Interactions and the split: numbers that are known, leaks that were put there."""

import pytest

from recbole_mm.cli import main
from tests.audit.shops import N_ITEMS, N_USERS, PER_USER, Drawn, found


@pytest.fixture
def shop(tmp_path) -> Drawn:
    return Drawn(tmp_path / "data" / "shop")


def test_numbers(shop, capsys):
    shop.inter += [["u0", "rare", 5], ["u1", "rare", 5]]
    shop.items["rare"] = ["A rare thing for once", ""]
    shop.write()
    numbers = shop.audit(capsys)["numbers"]["interactions"]
    assert (numbers["users"], numbers["items"], numbers["interactions"]) == (N_USERS, N_ITEMS + 1, N_USERS * PER_USER + 2)
    assert numbers["sparsity"] == pytest.approx(1 - (N_USERS * PER_USER + 2) / (N_USERS * (N_ITEMS + 1)))
    assert numbers["k_core"] == 2 and numbers["interactions_per_user"] == {"min": PER_USER, "median": PER_USER, "max": PER_USER + 1}
    filtered = shop.audit(capsys, "--item_inter_num_interval=[3,inf)")["numbers"]["interactions"]["after_filtering"]
    assert (filtered["items"], filtered["interactions"]) == (N_ITEMS, N_USERS * PER_USER) and filtered["k_core"] > 2


def test_repeated_pairs_leak_across_the_split(shop, capsys):
    shop.inter += [list(row) for row in shop.inter]
    shop.write()
    report = shop.audit(capsys, status=1)
    findings = found(report)
    assert report["numbers"]["interactions"]["repeated_pairs"] == N_USERS * PER_USER
    assert findings["interactions.repeated"]["level"] == "warning" and findings["split.shared_pairs"]["level"] == "error"
    findings = found(shop.audit(capsys, "--rm_dup_inter=first"))
    assert set(findings) == {"interactions.repeated"} and findings["interactions.repeated"]["level"] == "info"


def benchmark(shop: Drawn) -> dict[str, list]:
    parts = {"train": [], "valid": [], "test": []}
    for at, row in enumerate(shop.inter):
        parts[("train", "valid", "test")[max(0, at % PER_USER - PER_USER + 3)]].append(row)
    return parts


def test_benchmark_files(shop, capsys):
    parts = benchmark(shop)
    named = "--benchmark_filename=train,valid,test"
    shop.write(parts)
    report = shop.audit(capsys, named)
    assert report["sound"] and report["numbers"]["split"]["test"]["interactions"] == N_USERS
    assert "split.shared_pairs" not in found(report)
    parts["test"].append(parts["train"][4])
    parts["test"].append(["stranger", "i3", 9])
    shop.items["new"] = ["A new thing for once", ""]
    parts["test"].append(["u0", "new", 9])
    shop.write(parts)
    report = shop.audit(capsys, named, status=1)
    findings, numbers = found(report), report["numbers"]["split"]
    user, item, _ = parts["train"][4]
    assert findings["split.shared_pairs"]["items"] == [f"{user} with {item}"]
    assert "train and test" in findings["split.shared_pairs"]["message"]
    assert (numbers["pairs_in_train_and_test"], numbers["pairs_in_train_and_valid"]) == (1, 0)
    assert findings["split.unseen_users"]["items"] == ["stranger"] and findings["split.unseen_items"]["items"] == ["new"]
    assert numbers["test_users_unseen"] == {"users": 1, "share_of_interactions": pytest.approx(1 / (N_USERS + 3))}


def test_cold_items_that_are_meant_are_no_warning(shop, capsys):
    shop.write()
    finding = found(shop.audit(capsys, "--cold_item_ratio=0.2"))["split.unseen_items"]
    assert finding["level"] == "info" and 0 < finding["count"] <= 10


def test_time_stamps(shop, capsys):
    by_time = ["--eval_args={'split':{'RS':[0.8,0.1,0.1]},'order':'TO','group_by':'user','mode':'full'}",
               "--load_col={'inter':['user_id','item_id','timestamp']}"]  # fmt: skip
    shop.write()
    numbers = shop.audit(capsys, *by_time)["numbers"]
    assert numbers["interactions"]["without_time_stamp"] == 0
    assert numbers["split"]["test_before_newest_training"] == {"share_of_interactions": 0.0}
    shop.inter[3][2] = ""
    shop.write()
    assert found(shop.audit(capsys, *by_time))["interactions.no_time"]["level"] == "warning"
    assert "interactions.no_time" not in found(shop.audit(capsys))
    shop.inter = [[user, item, 7] for user, item, _ in shop.inter]
    shop.write()
    assert found(shop.audit(capsys, *by_time, status=1))["interactions.constant_time"]["level"] == "error"


def test_a_header_without_types(shop, capsys):
    shop.write()
    text = shop.file("inter").read_text()
    shop.file("inter").write_text(text.replace("item_id:token", "item_id"))
    findings = found(shop.audit(capsys, status=1))
    assert set(findings) == {"interactions.unreadable"} and "'item_id'" in findings["interactions.unreadable"]["message"]


def test_interactions_without_a_user(shop, capsys):
    shop.inter[0][0] = ""
    shop.write()
    assert "1 interactions lack" in found(shop.audit(capsys))["interactions.nameless"]["message"]


def test_filters_that_leave_nothing(shop, capsys):
    shop.write()
    assert found(shop.audit(capsys, "--user_inter_num_interval=[99,inf)", status=1))["interactions.unusable"]["level"] == "error"


@pytest.mark.parametrize("change", ["--dataset=shpo", "--benchmark_filename=train,test", "--encoder_trainig=end2end", "--model=CLIPReck"])
def test_broken_use(shop, capsys, change):
    shop.write()
    key = change.partition("=")[0]
    assert main(["audit", *(a for a in shop.arguments() if not a.startswith(key)), change]) == 2
    out, err = capsys.readouterr()
    assert not out and len(err.strip().splitlines()) == 1 and err.startswith("error: ")


def test_recboles_models_and_yaml_files_are_taken_too(shop, capsys, tmp_path):
    (tmp_path / "a.yaml").write_text("n_layers: 3\nmodel: LightGCN\n")
    shop.write()
    assert shop.audit(capsys, "--model=LightGCN", f"--config_files={tmp_path / 'a.yaml'}")["findings"] == []
    assert shop.audit(capsys, f"--config_files={tmp_path / 'a.yaml'}")["findings"] == []
