"""Any encoder by its name: ``backend:name[@tag-or-path]``."""

import inspect
from collections.abc import Callable, Iterable

from recbole_mm.encoder.base import ItemEncoder
from recbole_mm.errors import InputError, listed, nearest

Backend = Callable[..., ItemEncoder]
Check = Callable[[str, str | None], object]
GRAMMAR = "backend:name[@tag-or-path]"

_backends: dict[str, Backend] = {}
_whole: set[str] = set()
_checks: dict[str, Check] = {}


def register_backend(name: str, whole: bool = False, check: Check | None = None) -> Callable[[Backend], Backend]:
    """Decorator for a function that builds the encoders of the backend ``name``: ``f(name, source, *, seed, **options) -> ItemEncoder``.

    ``source`` is the tag or path after the "@", or None; with ``whole`` the backend splits its names itself. The function's keyword
    arguments are the backend's options. ``check(name, source)`` raises InputError for a name that cannot be right, without a network and
    in no time.

    Raises:
        ValueError: the backend is registered already.
    """
    if not name.isidentifier():
        raise ValueError(f"a backend's name is an identifier, not '{name}'")

    def register(function: Backend) -> Backend:
        if name in _backends:
            raise ValueError(f"the encoder backend '{name}' is registered already")
        _backends[name] = function
        if whole:
            _whole.add(name)
        if check is not None:
            _checks[name] = check
        return function

    return register


def list_backends() -> list[str]:
    """The names that may stand before the colon, sorted."""
    return sorted(_backends)


def create_encoder(name: str, *, seed: int = 0, **options: object) -> ItemEncoder:
    """Builds the encoder called ``name``, on the CPU and in eval mode.

    Args:
        name: ``backend:name[@tag-or-path]``, e.g. ``open_clip:ViT-B-16-quickgelu@openai``, ``open_clip:ViT-B-32@/w.safetensors``,
            ``open_clip:local-dir:/folder``, ``open_clip:tiny``.
        seed: decides the weights that do not come from a file (those of tiny encoders); the global random state stays as it is.
        options: options of the backend, e.g. ``gradient_checkpointing=True``.

    Raises:
        InputError: a malformed name; an unknown backend, name, tag or option; weights that are not available or do not fit.
    """
    backend, rest, source = parse_name(name)
    _check_options(name, backend, options)
    return _backends[backend](rest, source, seed=seed, **options)


def check_name(name: str, options: Iterable[str] = ()) -> None:
    """Says what is wrong with a name, or the names of options, as far as that takes no network and no time. Nothing is built.

    Raises:
        InputError: as ``create_encoder``.
    """
    backend, rest, source = parse_name(name)
    _check_options(name, backend, options)
    if backend in _checks:
        _checks[backend](rest, source)


def _check_options(name: str, backend: str, options: Iterable[str]) -> None:
    valid = options_of(backend)
    for option in options if valid is not None else ():
        if option not in valid:
            raise InputError(f"{name}: no encoder option '{option}'{nearest(option, valid)}; its options: {listed(valid)}")


def options_of(backend: str) -> list[str] | None:
    """The options that a registered backend takes besides the seed; None if it takes any."""
    parameters = inspect.signature(_backends[backend]).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed"]


def parse_name(name: str) -> tuple[str, str, str | None]:
    """``backend:name[@source]`` -> (backend, name, source or None).

    The first "@" splits, so a path after it may hold more of them. A name that is itself a path (``local-dir:/folder``,
    ``/folder``, ``./folder``, ``~/folder``) is never split, nor is one of a backend registered as ``whole``.

    Raises:
        InputError: malformed, or an unknown backend.
    """
    known = f"the backends: {listed(list_backends())}"
    backend, colon, rest = name.strip().partition(":") if isinstance(name, str) else ("", "", "")
    if not (backend and colon and rest):
        raise InputError(f"encoder '{name}' is not of the form {GRAMMAR}{nearest(backend, _backends)}; {known}")
    if backend not in _backends:
        raise InputError(f"encoder '{name}': unknown backend '{backend}'{nearest(backend, _backends)}; {known}")
    if backend in _whole or rest.startswith(("local-dir:", "/", "./", "../", "~")):
        return backend, rest, None
    model, at, source = rest.partition("@")
    if not model or (at and not source):
        raise InputError(f"encoder '{name}' is not of the form {GRAMMAR}: nothing {'before' if not model else 'after'} the '@'")
    return backend, model, source or None
