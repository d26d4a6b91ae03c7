"""What a person reads of a run: a few lines before it, a table of results after it; and what the log file has."""

import re
from pathlib import Path

import pytest

from recbole_mm.cli import main_run
from recbole_mm.quick_start import objective_function, run
from recbole_mm.testing.planted import built, settings, write_planted
from recbole_mm.training.results import Results, difference
from tests.training.quick import QUICK

RECBOLES = ("embedding_size = 64", "The number of users: 17", "epoch 0 training [time", "valid result")
"""Some of what RecBole logs."""
BARS = re.compile("[━╸╺█▏]|\x1b|\r|it/s")


def arguments(folder: Path, **keys) -> list[str]:
    keys = {"model": "CLIPRec", "dataset": folder.name, **settings(folder, **{**QUICK, "epochs": 1, "state": "INFO", **keys})}
    foreign = () if keys["model"] == "CLIPRec" else ("encoder", "modalities")
    return [f"--{key}={str(value).replace(' ', '')}" for key, value in keys.items() if key not in foreign]


def table(shown: str) -> dict[str, list[str]]:
    """The table of results: metric -> a number per column; its heading under "metric"."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines() if re.match(r" (metric|recall|ndcg)", line)]
    return {name: numbers for name, *numbers in rows}


@pytest.mark.parametrize("model", ["CLIPRec", "BPR"])
def test_what_is_run_on_what_is_told_in_a_few_lines(shop, capsys, model):
    assert main_run(arguments(shop, model=model, show_progress=True)) == 0
    shown, err = capsys.readouterr()
    lines = shown.splitlines()
    before = lines[: next(n for n, line in enumerate(lines) if line.startswith("epoch "))]
    assert len(before) < 15 and max(map(len, lines)) <= 100 and not BARS.search(shown) and err == ""
    assert lines[0].startswith(model) and "16 users, 24 items, 96 interactions" in shown and "epochs: 1" in shown
    assert "64 training, 16 validation, 16 test" in shown and "recall@10 selects" not in shown
    for what in ("checkpoint", "log", "tensorboard"):
        (path,) = re.findall(rf"^  {what} +(\S+)$", shown, re.MULTILINE)
        assert Path(path).exists()


def test_the_table_has_the_numbers_of_the_result(planted, capsys):
    result = run("BPR", planted.name, config_dict=settings(planted, epochs=1, state="INFO", encoder=None, cold_item_ratio=0.2))
    shown = table(capsys.readouterr().out)
    assert shown["metric"] == ["valid", "test", "test, warm", "test, cold", "Pop, valid", "Pop, test"]
    columns = [result[key] for key in ("best_valid_result", "test_result", "test_result_warm", "test_result_cold")]
    columns += [result["popularity"][part] for part in ("valid", "test")]
    for metric in columns[0]:
        assert shown[metric] == [f"{column[metric]:.4f}" for column in columns]


def test_on_a_terminal_bars_come_and_go(shop, terminal):
    assert main_run(arguments(shop, show_progress=True)) == 0
    shown = terminal.getvalue()
    assert "Epoch 1/1" in shown and "━" in shown
    left = re.sub(r"\r?\x1b\[2K[^\n]*?(?=\r|\x1b\[\?25h)", "", shown)
    assert "Epoch 1/1" not in left and re.search(r"^epoch 1/1 ", re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\r", "", left), re.MULTILINE)


def test_no_bars_on_a_terminal_that_asked_for_none(shop, terminal):
    assert main_run(arguments(shop)) == 0
    assert "━" not in terminal.getvalue() and "recall@10" in terminal.getvalue()


def test_quiet_shows_the_table_alone(shop, capsys):
    assert main_run([*arguments(shop, encoder_warmup_steps=1000), "--quiet"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].split()[0] == "metric" and all(re.match(r" (metric|─+|recall@|ndcg@)", line) for line in lines)


def test_verbose_shows_what_the_log_has(shop, capsys):
    assert main_run([*arguments(shop, model="BPR"), "--verbose"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "embedding_size = 64",
        "The number of users: 17",
        "epoch 0 training [time",
        "valid result",
        "[Training]: train_batch_size",
    ):
        assert line in shown
    assert "\x1b" not in shown


def test_the_log_file_has_everything(shop, capsys):
    assert main_run(arguments(shop, encoder_warmup_steps=1000)) == 0
    shown = capsys.readouterr().out
    (file,) = Path("log/CLIPRec").glob("*.log")
    log = file.read_text(encoding="utf-8")
    for line in ("embedding_size = 64", "The number of users: 17", "epoch 0 training [time", "valid result", "CLIPRec(", "health [mean"):
        assert line in log and line not in shown
    assert not BARS.search(log) and table(log) == table(shown) and "loss/recommendation" in log
    assert re.search(r"^warning: encoder_warmup_steps .*$", shown, re.MULTILINE) and "WARNING  encoder_warmup_steps" in log


def test_notices_come_after_what_is_run_on_what(shop, capsys):
    run("BPR", shop.name, config_dict=settings(shop, epochs=1, state="INFO"))
    shown = capsys.readouterr().out
    (notice,) = re.findall(r"^warning: not used: .*encoder.*$", shown, re.MULTILINE)
    assert shown.index("  machine ") < shown.index(notice) < shown.index("epoch 1/1")


def test_a_run_that_cannot_start_ends_in_one_line(shop, capsys):
    assert main_run(arguments(shop, encoder="opn_clip:tiny")) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")


def test_state_decides_what_is_logged_at_all(shop, capsys):
    assert main_run(arguments(shop, state="WARNING", encoder_warmup_steps=1000)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: encoder_warmup_steps")


def test_trials_of_a_search_are_silent(shop, capsys):
    found = objective_function(
        {"model": "CLIPRec", "dataset": shop.name, **settings(shop, **QUICK, epochs=1, state="INFO", encoder_warmup_steps=0)}
    )
    assert capsys.readouterr() == ("", "") and found["test_result"]


def test_many_settings_take_a_few_lines(shop, capsys):
    keys = {"image_dir": "images", "learning_rate": 0.002, "weight_decay": 0.1, "encoder_learning_rate": 0.003, "id_dropout": 0.25,
            "content_reg_weight": 0.5, "reg_weight": 0.25, "contrastive_weight": 0.5, "encoder_weight_decay": 0.5}  # fmt: skip
    assert main_run(arguments(shop, **keys)) == 0
    lines = capsys.readouterr().out.splitlines()
    settings_lines = lines[next(n for n, line in enumerate(lines) if line.startswith("  settings")) :][:3]
    assert "all of them are in the log" in settings_lines[2] and max(map(len, settings_lines)) <= 100


def test_unseen_items_are_the_reason_where_the_data_say_so(tmp_path, capsys):
    """Every user's last item is a new one."""
    folder = write_planted(tmp_path / "data" / "news", n_users=16, n_items=24)
    with (folder / "news.inter").open("a") as file:
        file.writelines(f"u{u}\tnew{u % 4}\t{100 + u}\n" for u in range(16))
    keys = {"eval_args": {"order": "TO", "split": {"LS": "valid_and_test"}}, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    run("ItemKNN", "news", config_dict=settings(folder, state="INFO", encoder=None, **keys))
    assert "100% of the test's interactions are with items unseen in training (0% in validation)" in " ".join(
        capsys.readouterr().out.split()
    )


def test_no_reason_without_a_difference(shop):
    config, _, *loaders = built(shop, "BPR", encoder=None)
    alike, apart = ({"recall@10": 0.5}, {"recall@10": 0.45}), ({"recall@10": 0.5}, {"recall@10": 0.2})
    assert difference(config, Results(*alike), *loaders) is None and difference(config, Results({}, None), *loaders) is None
    floor = {"valid": {"recall@10": 0.4}, "test": {"recall@10": 0.1}}
    assert "not equally hard" in difference(config, Results(*apart, popularity=floor), *loaders)
    assert "chance (16 users in the test)" in difference(config, Results(*apart), *loaders)
