"""README and docs hold: their Python snippets run, their commands and keys exist, and their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from recbole_mm.cli import main_run
from recbole_mm.commands import COMMANDS
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.data.demo import write_demo
from recbole_mm.data.prepare.options import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [(name, code) for name, text in PAGES.items() for language, code in FENCE.findall(text) if language == "python"]
PROGRAM = re.compile(r"recbole-mm|run_recbole_mm\.py|-m recbole_mm\.cli")
OPTIONS_OF_COMMANDS = ("--output", "--json", "--shuffle-test", "--config_files", "--teacher", "--student", "--prune")


def commands() -> list[tuple[str, str]]:
    """The page and the arguments of every command, or line of settings alone, that stands in a code block."""
    found = []
    for name, text in PAGES.items():
        blocks = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        blocks += [line for language, code in FENCE.findall(text) if language != "python" for line in code.splitlines()]
        settings = [line for line in blocks if line.startswith("--") or (PROGRAM.search(line) and "=" in line)]
        found += [(name, PROGRAM.split(line)[-1].strip()) for line in settings]
    return found


def demo_rows() -> list[str]:
    table = re.search(r"## Try on the demo\n(.*?)\n## ", PAGES["README.md"], re.DOTALL).group(1)
    return re.findall(r"^\| `(--model=.*?)`", table, re.MULTILINE)


def configured(arguments: list[str]) -> MultiModalConfig:
    """The configuration of a command's arguments, each of which must be a key."""
    named = dict(argument[2:].split("=", 1) for argument in arguments if re.match("--(model|dataset)=", argument))
    rest = [a for a in arguments if a.startswith("--") and a.partition("=")[0] not in (*OPTIONS_OF_COMMANDS, "--model", "--dataset")]
    model = named.get("model", "CLIPRec").replace("$model", "CLIPRec")
    return MultiModalConfig(model, named.get("dataset", "demo"), command_line=rest)


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_demo(folder / "demo", n_users=40, n_items=60)
    return folder


@pytest.fixture()
def with_demo(small_demo, tmp_path) -> None:
    """The working directory has a data set 'demo', of which a few items are enough here."""
    (tmp_path / "dataset").symlink_to(small_demo)


@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(SNIPPETS)])
def test_python_snippets_run(page, code, with_demo):
    if "HyperTuning" in code:
        pytest.importorskip("hyperopt")
    exec(compile(code, page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("row", demo_rows())
def test_the_rows_of_the_demo_table_run(row, with_demo, capsys):
    quick = ["--dataset=demo", "--epochs=1", "--show_progress=False"]
    assert main_run([*row.split(), *quick]) == 0
    assert re.search(r"^ metric +valid +test .*^ recall@20 ", capsys.readouterr().out, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("page", "arguments"), commands())
def test_every_command_is_one(page, arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, *options = given = shlex.split(arguments, comments=True)
    if command == "prepare":
        assert f"--output={parse(options).output}" in options
    elif command in COMMANDS and COMMANDS[command].rest == "none":
        named = {option.partition("=")[0] for option in options if option.startswith("--")}
        assert named <= COMMANDS[command].options.keys()
    else:
        config = configured(given)
        assert f"--model={config['model']}" in given or config["model"] == "CLIPRec"


def test_there_are_enough_of_each():
    assert len(demo_rows()) >= 8 and len(SNIPPETS) >= 4 and len(commands()) >= 15


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = ROOT if page == "README.md" else ROOT / "docs"
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[page])
    assert [link for link in links if not (folder / link).exists()] == []
