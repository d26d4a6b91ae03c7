"""What a run says before it trains: which model, on which data, how it is measured, and which settings are not the defaults."""

import textwrap
from importlib.metadata import version

import torch
from recbole.utils import ModelType
from rich.text import Text

from recbole_mm.config.modalities import ModalitySources
from recbole_mm.config.registry import is_ours
from recbole_mm.evaluation.histories import HISTORIES
from recbole_mm.parallel.ranks import Ranks
from recbole_mm.terminal import LABEL, WIDTH, labelled, say

CHANGED_LINES = 3
"""On how many lines the changed settings are told at most. The log has all settings."""
NO_BREAK = "\N{NO-BREAK SPACE}"
NOT_TOLD = {"model", "dataset", "config_files", "nproc", "screen", "show_progress", "state"}
TRAINING = {
    "pretrained": "frozen",
    "finetuned": "fine-tuned on the items beforehand, then frozen",
    "end2end": "trained with the recommender ({tuning})",
}
TUNING = {"full": "all of it", "last_k": "its last blocks", "bitfit": "its biases", "side": "a side network beside it"}


def tell_run(config) -> None:
    """Says what is run on what."""
    whose = "" if is_ours(config.model_class) else " (a model of RecBole)"
    say(Text(f"{config['model']}{whose} on {config['dataset']}", "bold"))
    if config.data_set_settings:
        say(labelled("its settings", config.data_set_settings))


def tell_data(dataset) -> None:
    """Says how large the data are."""
    n_users, n_items, n = dataset.user_num - 1, dataset.item_num - 1, dataset.inter_num
    pairs = f"{n / max(1, n_users * n_items):.2%} of all pairs"
    say(labelled("data", f"{n_users:,} users, {n_items:,} items, {n:,} interactions ({pairs})"))
    content = getattr(dataset, "content", None)
    if content is not None and content.present:
        counts = [f"{int(here.sum()):,} {'pictures' if m == 'image' else 'texts'}" for m, here in content.present.items()]
        say(labelled("content", " and ".join(counts)))


def tell_protocol(config, loaders: tuple) -> None:
    """Says how the data are split and the model is measured, on which machine, and which settings were changed.

    Args:
        loaders: the training, validation and test loader.
    """
    sizes = [len(loader._dataset.inter_feat) if loader else 0 for loader in loaders]
    say(labelled("split", "{}: {:,} training, {:,} validation, {:,} test".format(_split(config), *sizes)))
    say(labelled("evaluation", _evaluation(config)))
    if is_ours(config.model_class):
        say(labelled("items", _features(config)))
    processes = f", {Ranks.current().world} processes" if Ranks.current().world > 1 else ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("recbole", "torch"))
    say(labelled("machine", f"{_device(config['device'])}{processes}; {versions}"))
    for line in _changed(config):
        say(line)


def tell_model(model: torch.nn.Module) -> None:
    """Says how large a model is, unless it only counts (Pop, ItemKNN)."""
    if getattr(model, "type", None) == ModelType.TRADITIONAL:
        return
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    say(labelled("parameters", f"{sum(n for n, _ in sizes):,}, of which {sum(n for n, trains in sizes if trains):,} train"))


def _split(config) -> str:
    arguments = config["eval_args"]
    if config["benchmark_filename"]:
        return f"as the files say ({', '.join(config['benchmark_filename'])})"
    ((kind, how),) = arguments["split"].items()
    order = "by time" if str(arguments["order"]).upper() == "TO" else "at random"
    shares = "/".join(f"{100 * share / sum(how):.0f}" for share in how) if kind == "RS" else f"leave one out ({how})"
    return f"{shares} {'per user ' if arguments['group_by'] == 'user' else ''}{order}"


def _evaluation(config) -> str:
    modes = config["eval_args"]["mode"]
    modes = list(dict.fromkeys(modes.values())) if isinstance(modes, dict) else [modes]
    ranked = {"full": "all items are ranked for each user", "labeled": "each interaction is predicted", "none": "no validation"}
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        ranked["full"] = f"all items are ranked, {HISTORIES[config['mask_history']]}"
    how = " / ".join(ranked.get(str(mode), f"ranked among sampled items ({mode})") for mode in modes)
    epochs = 1 if config["MODEL_TYPE"] == ModelType.TRADITIONAL else config["epochs"]
    return how if epochs == 1 else f"{how}; {str(config['valid_metric']).lower()} selects the epoch, of {epochs} at most"


def _features(config) -> str:
    """Where the features of the items come from."""
    if config["modalities"] == []:
        return "ids alone"
    sources = ModalitySources.from_config(config)
    told = [f"{', '.join(config['feature_files'])} from files"] if config["feature_files"] else []
    if sources.encoded != ():
        tuning = config["encoder_tuning"]
        training = TRAINING[config["encoder_training"]].format(tuning=TUNING.get(tuning, tuning))
        what = ", ".join(sources.encoded) if sources.encoded else "pictures, texts"
        told.append(f"{what} through {config['encoder']}, {training}")
    return "; ".join(told)


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device}, {threads} thread{'s' if threads > 1 else ''}"


def _changed(config) -> list[Text]:
    """The settings that are not at their defaults, on a few lines; [] without any."""
    defaults = config.internal_config_dict
    changed = {
        key: value for key, value in config.external_config_dict.items()
        if key not in NOT_TOLD and not (key in defaults and defaults[key] == value)
    }  # fmt: skip
    told = ", ".join(f"{key}: {_written(value)}".replace(" ", NO_BREAK) for key, value in changed.items())
    lines = [line.replace(NO_BREAK, " ") for line in textwrap.wrap(told, WIDTH - LABEL, break_on_hyphens=False)]
    if len(lines) > CHANGED_LINES:
        lines = [*lines[: CHANGED_LINES - 1], "... (all of them are in the log)"]
    return [labelled("" if place else "settings", line) for place, line in enumerate(lines)]


def _written(value: object) -> str:
    return "~" if value is None else str(value).replace("'", "")
