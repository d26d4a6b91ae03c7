"""Builds a timm model with all of its weights, or says in one line why that is impossible."""

import dataclasses

import torch
from torch import Tensor, nn

from recbole_mm.encoder.timm.source import POOLS, Source
from recbole_mm.encoder.weights import misfit, read_weights, shapes_of
from recbole_mm.errors import InputError, one_line

WRAPPER = "timm_model."
"""What transformers puts before the names of timm's weights."""


def build_model(source: Source) -> nn.Module:
    """The float32 model on the CPU, without its classifier; the global random state stays as it is.

    Raises:
        InputError: the architecture cannot be built, the weights do not fit, or it does not offer the pooling.
    """
    state = {name.removeprefix(WRAPPER): value for name, value in read_weights(source.label, source.weights).items()}
    with torch.random.fork_rng(devices=[]):
        model = _load(source, state)
    if not (hasattr(model, "reset_classifier") and hasattr(model, "forward_head")):
        raise InputError(f"{source.label}: timm gives no pooled features of {source.architecture}")
    model.reset_classifier(0)
    if source.pool is not None:
        _set_pool(source, model)
    return model.eval()


def _load(source: Source, state: dict[str, Tensor]) -> nn.Module:
    """timm's own loading, which converts weights of other layouts (position embeddings of another size, for example) and then takes no
    missing and no unexpected weight, because the model is built with as many classes as the file has."""
    import timm
    from timm.models import PretrainedCfg

    known = {item.name for item in dataclasses.fields(PretrainedCfg)}
    config = {key: value for key, value in source.config.items() if key in known}
    classes = _classes(config, state)
    arguments = {**source.arguments, "num_classes": classes}
    given = {**config, "num_classes": classes, "source": None, "state_dict": state}
    try:
        model = timm.create_model(source.architecture, pretrained=True, pretrained_cfg=given, **arguments)
    except Exception as error:
        raise InputError(f"{source.label}: {_reason(source, config, arguments, state, error)}") from error
    model.pretrained_cfg = model.default_cfg = {key: value for key, value in model.pretrained_cfg.items() if key != "state_dict"}
    return model


def _classes(config: dict, state: dict[str, Tensor]) -> int:
    """How many classes the file's classifier has; 0 without one."""
    names = config.get("classifier") or ()
    weights = (state.get(f"{name}.weight") for name in ([names] if isinstance(names, str) else names))
    return next((len(weight) for weight in weights if weight is not None), 0)


def _reason(source: Source, config: dict, arguments: dict, state: dict[str, Tensor], error: Exception) -> str:
    import timm

    try:
        with torch.device("meta"):
            wanted = shapes_of(timm.create_model(source.architecture, pretrained_cfg=config, **arguments).state_dict())
    except Exception as other:
        return f"timm cannot build {source.architecture} ({type(other).__name__}: {one_line(other)})"
    difference = misfit(shapes_of(state), wanted) or one_line(error)
    return f"the weights in {source.weights} do not fit {source.architecture}: {difference}"


def _set_pool(source: Source, model: nn.Module) -> None:
    """Raises InputError: the model does not give one row for its class token and another for the mean of the patches."""

    def row(pool: str) -> Tensor:
        model.reset_classifier(0, POOLS[pool])
        return model.forward_head(tokens, pre_logits=True)

    tokens = torch.linspace(-9, 9, 9 * model.num_features).sin().view(1, 9, -1)
    try:
        with torch.no_grad():
            offered = getattr(model, "cls_token", None) is not None and not torch.equal(row("cls"), row("avg"))
    except Exception:  # each architecture refuses in its own way
        offered = False
    if not offered:
        raise InputError(f"{source.label}: {source.architecture} has one pooling only; leave out '?pool={source.pool}'")
    model.reset_classifier(0, POOLS[source.pool])
