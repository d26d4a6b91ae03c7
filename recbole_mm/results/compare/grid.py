"""A grid file: which runs a comparison is made of. All of their configurations are built, and so checked, before anything runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recbole_mm.config.config_files import read_config_files
from recbole_mm.config.multimodal_config import MultiModalConfig
from recbole_mm.config.parse import parse_container
from recbole_mm.config.registry import is_ours
from recbole_mm.encoder.build_encoder import check_encoder
from recbole_mm.encoder.settings import EncoderSettings
from recbole_mm.errors import InputError, listed
from recbole_mm.results.compare.cells import Cell
from recbole_mm.results.compare.grid_file import check_form, check_models, combinations
from recbole_mm.results.compare.inputs import InputFiles
from recbole_mm.results.compare.spaces import Space, read_spaces
from recbole_mm.training.loaders import find_dataset

NOT_HERE = {
    "checkpoint_dir": "every run has its own folder below the output", "resume": "compare goes on by itself",
    "show_progress": "runs write into their logs", "config_files": "put its keys below settings",
}  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """What a grid file asks for.

    Attributes:
        cells: the runs, each once.
        columns: the keys that vary, which tell the cells apart but for their seeds.
        metric: what the leaderboard is about, such as ``recall@20``.
        reference: what the others are compared with, as values of some columns; {} for the best.
        notices: what the screen should say.
    """

    cells: list[Cell]
    columns: list[str]
    metric: str
    reference: Mapping[str, object] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def groups(self) -> dict[str, list[Cell]]:
        """The cells that differ in the seed alone."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.group, []).append(cell)
        return found


def read_grid(grid: str | Path | Mapping) -> Grid:
    """Reads a grid file, or takes its content, and checks all of it.

    Raises:
        InputError: the file cannot be read, or some cells cannot run; the line names every fault once.
    """
    content = dict(grid) if isinstance(grid, Mapping) else read_config_files([str(grid)], MultiModalConfig._build_yaml_loader(None))
    name = "the grid" if isinstance(grid, Mapping) else str(grid)
    check_form(content, name)
    asked = list(combinations(content))
    models = list(dict.fromkeys(settings.get("model") for _, settings in asked))
    check_models(content, models)
    spaces = read_spaces(content.get("search"), content.get("trials"), [str(model) for model in models])
    return _Builder(name, spaces).grid(content, asked)


def label(cell: Cell, columns: Iterable[str]) -> str:
    """A cell in a few words."""
    return ", ".join([*(shown for column in columns if (shown := written(cell.value(column)))), f"seed {cell.seed}"])


def written(value: object) -> str:
    """A value as a table shows it."""
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    return "" if value is None else str(value)


class _Builder:
    """Builds the configuration of every cell, and collects what is wrong."""

    def __init__(self, name: str, spaces: Mapping[str, Space]) -> None:
        self.name, self.spaces = name, spaces
        self.files = InputFiles()
        self.faults: dict[str, list[str]] = {}

    def grid(self, content: Mapping, asked: list[tuple[list[str], dict]]) -> Grid:
        built, spanned = [], []
        for keys, settings in asked:
            found = self._cell(settings)
            spanned += [key for key in keys if key not in spanned]
            built += [found] if found else []
        if self.faults:
            more = [f"{told} ({cells[0]}{f' and {len(cells) - 1} more' if cells[1:] else ''})" for told, cells in self.faults.items()]
            raise InputError(f"{self.name}: {'; '.join(more)}")
        cells = list({cell.key: cell for cell, _ in built}.values())
        columns = _columns(cells, spanned)
        metric = _metric(content.get("metric"), [config for _, config in built])
        reference = _reference(content.get("reference"), cells, columns)
        return Grid(cells, columns, metric, reference, _notices(cells, asked, spanned))

    def _cell(self, asked: Mapping) -> tuple[Cell, MultiModalConfig] | None:
        model, dataset = asked.get("model"), asked.get("dataset")
        settings = {key: value for key, value in asked.items() if key not in ("model", "dataset")}
        try:
            misplaced = [f"{key} cannot be set: {why}" for key, why in NOT_HERE.items() if key in settings]
            if misplaced:
                raise InputError("; ".join(misplaced))
            absent = [key for key in ("model", "dataset") if not asked.get(key)]
            if absent:
                raise InputError(f"there is no {' and no '.join(absent)}; add {', '.join(f'{key}: NAME' for key in absent)}")
            if isinstance(model, type):
                raise InputError(f"model {model.__name__}: name the module of a model of your own below settings (plugins: [mine.py])")
            space = self.spaces.get(str(model))
            config = MultiModalConfig(model, dataset, config_dict=dict(settings), command_line=[])
            if is_ours(config.model_class):
                check_encoder(EncoderSettings.from_config(config))
            find_dataset(config)
            if space:
                space.check(config)
        except InputError as error:
            self.faults.setdefault(str(error), []).append(", ".join(map(str, filter(None, (model, dataset)))))
            return None
        own = {key: config.external_config_dict[key] for key in settings if key in config.external_config_dict and key != "seed"}
        return Cell.of(config["model"], config["dataset"], config["seed"], own, self.files.digest(config, own), space), config


def _columns(cells: list[Cell], spanned: list[str]) -> list[str]:
    """The keys that vary between cells that have them; the model first, whether or not it does. Where they do not tell all cells apart,
    so do the settings in which these differ."""
    order = ["model", "dataset", *(key for key in spanned if key not in ("model", "dataset", "seed"))]
    columns = [key for key in order if key == "model" or len({written(c.value(key)) for c in cells if c.has(key)}) > 1]
    alike: dict[tuple, dict[str, Cell]] = {}
    for cell in cells:
        alike.setdefault(tuple(written(cell.value(column)) for column in columns), {})[cell.group] = cell
    for same in (list(groups.values()) for groups in alike.values() if len(groups) > 1):
        keys = dict.fromkeys(key for cell in same for key in cell.settings)
        columns += [key for key in keys if key not in columns and len({str(cell.value(key)) for cell in same}) > 1]
    return columns


def _metric(given: object, configs: list[MultiModalConfig]) -> str:
    """What the leaderboard is about: by default what chooses the epochs."""
    metric = str(given or configs[0]["valid_metric"]).lower()
    for config in configs:
        ks = config["topk"] if isinstance(config["topk"], list) else [config["topk"]]
        metrics = config["metrics"] if isinstance(config["metrics"], list) else [config["metrics"]]
        tested = [f"{m.lower()}@{k}" for m in metrics for k in ks] + [m.lower() for m in metrics]
        if metric not in tested:
            raise InputError(f"metric {metric}: {config['model']} is tested by metrics {metrics} and topk {ks}; set metric, or metrics and "
                             "topk below settings")  # fmt: skip
    return metric


def _reference(given: object, cells: list[Cell], columns: list[str]) -> dict[str, object]:
    """The columns' values that choose the reference, one in each data set. ``reference: BPR`` is short for ``{model: BPR}``."""
    if given in (None, "best"):
        return {}
    wanted = dict(given) if isinstance(given, Mapping) else {"model": given}
    odd = [key for key in wanted if key not in columns]
    if odd:
        raise InputError(f"reference: {', '.join(odd)} does not vary in this grid; there are {listed(columns)}")
    wanted = {key: parse_container(key, value, MultiModalConfig._build_yaml_loader(None)) for key, value in wanted.items()}
    found = {cell.group: cell for cell in cells if all(written(cell.value(key)) == written(value) for key, value in wanted.items())}
    datasets = [cell.dataset for cell in found.values()]
    if not found or len(datasets) != len(set(datasets)):
        told = ", ".join(f"{key}: {written(value)}" for key, value in wanted.items())
        raise InputError(f"reference {{{told}}}: {len(found) or 'no'} rows of the leaderboard are that; name one by {listed(columns)}")
    return wanted


def _notices(cells: list[Cell], asked: list[tuple[list[str], dict]], spanned: list[str]) -> list[str]:
    """Which keys did not multiply the cells of which models."""
    found = []
    for model in dict.fromkeys(cell.model for cell in cells):
        own, wanted = [cell for cell in cells if cell.model == model], [s for _, s in asked if s.get("model") == model]
        foreign = [k for k in spanned if k not in ("model", "dataset", "seed") and not any(cell.has(k) for cell in own)]
        if len(own) < len(wanted):
            why = f"has no {', '.join(foreign)}" if foreign else "has some cells twice"
            found.append(f"{model} {why}: {len(own)} cells, not {len(wanted)}")
    return found
