"""``check_model`` and ``check_encoder``: the whole contract for one model or one encoder."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from recbole.utils import ModelType

from recbole_mm.config.registry import get_model, is_ours, require_model
from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.errors import InputError
from recbole_mm.testing.demands import Demand, meet
from recbole_mm.testing.encoder_demands import EncoderChecks
from recbole_mm.testing.model_demands import ModelChecks
from recbole_mm.testing.sequence_demands import SequenceChecks
from recbole_mm.testing.shops import Shops


def check_model(
    model: str | type, settings: Mapping[str, object] | None = None, patience: int = 1, features_rank: bool = True, in_order: bool = True
) -> None:  # fmt: skip
    """Checks that a recommender does what every recommender of recbole_mm does: with any modalities, under frozen encoders and encoders
    that train, it learns a planted preference (or, over histories, what comes next), sends gradients where it says, and gives the same
    result for the same seed, after loading and after resuming.

    Args:
        model: the class, a subclass of ``MultiModalRecommender`` or ``SequenceRecommender``; or a name that ``--model`` takes.
        settings: configuration keys with which it learns quickly on a few hundred interactions, for example ``{"reg_weight": 0}``.
        patience: how many times as many epochs it needs as the models of recbole_mm, which find the preference in 6 to 20.
        features_rank: whether items without interactions are ranked by their features. False for a model whose features only shape the
            training of ids, as BM3's do.
        in_order: of a sequence model, whether it finds that something else comes next than was there before. False for one that reads
            histories from both sides, as BERT4RecM does, and finds that much later: it is asked for what a user likes alone.

    Raises:
        ContractError: some demands are not met; the message has a line for each.
        InputError: there is no such model, or it is not built on the base classes of recbole_mm.
    """
    _require_ours(model)
    with _temporary_shops() as shops:
        demands = _model_checks(model, shops, settings or {}, patience, in_order).demands(features_rank)
        meet(model if isinstance(model, str) else model.__name__, demands)


def check_encoder(name: str, **options: object) -> None:
    """Checks that an encoder does what every encoder of recbole_mm does: it makes one row per item and modality, reads odd pictures and
    texts, names its blocks, has a fingerprint, and trains inside a recommender.

    Args:
        name: what ``create_encoder`` and ``--encoder`` take.
        options: options of its backend.

    Raises:
        ContractError: some demands are not met; the message has a line for each.
        InputError: there is no such encoder.
    """
    with _temporary_shops() as shops:
        meet(name, _encoder_checks(name, options, shops).demands())


def model_demands(
    model: str | type, settings: Mapping[str, object] | None = None, patience: int = 1, features_rank: bool = True, in_order: bool = True
) -> list[Demand]:
    """The demands that ``check_model`` checks, one by one, for ``pytest.mark.parametrize``."""
    _require_ours(model)
    return _model_checks(model, _kept_shops(), settings or {}, patience, in_order).demands(features_rank)


def encoder_demands(name: str, **options: object) -> list[Demand]:
    """The demands that ``check_encoder`` checks, one by one, for ``pytest.mark.parametrize``. The encoder is made here."""
    return _encoder_checks(name, options, _kept_shops()).demands()


def _require_ours(model: str | type) -> None:
    if isinstance(model, str):
        require_model(model)
    if not is_ours(model if isinstance(model, type) else get_model(model)):
        name = model if isinstance(model, str) else model.__name__
        raise InputError(f"{name} is no MultiModalRecommender (recbole_mm.model.base) or SequenceRecommender "
                         "(recbole_mm.model.sequential.base), and this is the contract of those")  # fmt: skip


def _model_checks(model: str | type, shops: Shops, settings: Mapping[str, object], patience: int, in_order: bool) -> ModelChecks:
    if (get_model(model) if isinstance(model, str) else model).type == ModelType.SEQUENTIAL:
        return SequenceChecks(model, shops.sequences, settings, patience, in_order=in_order)
    return ModelChecks(model, shops, settings, patience)


def _encoder_checks(name: str, options: Mapping[str, object], shops: Shops) -> EncoderChecks:
    def create(seed: int) -> ItemEncoder:
        return create_encoder(name, seed=seed, **options)

    return EncoderChecks(name, create, shops)


@contextmanager
def _temporary_shops() -> Iterator[Shops]:
    with tempfile.TemporaryDirectory(prefix="recbole_mm_testing_") as folder:
        yield Shops(Path(folder))


@lru_cache
def _kept_shops() -> Shops:
    """Shops in a folder that is removed at the end of the program."""
    folder = tempfile.mkdtemp(prefix="recbole_mm_testing_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Shops(Path(folder))
