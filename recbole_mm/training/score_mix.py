"""``score_mix: auto``: how much ids and content weigh in the score of a trained model, chosen on validation."""

from collections import OrderedDict

from recbole_mm.checkpoint import load_checkpoint, plain, save_checkpoint
from recbole_mm.errors import InputError
from recbole_mm.parallel.randomness import random_state, set_random_state
from recbole_mm.terminal import labelled, say
from recbole_mm.training.health import score_spreads
from recbole_mm.training.run_state import UNMIXED, load_weights

STEPS = (0.05, 0.025, 0.0125)
"""How far beside the best of the shares 0, .1, ..., 1, and then beside the best so far, others are tried."""


def check_mix(config, model) -> None:
    """Checks that the score has two parts to weigh.

    Raises:
        InputError: it has not, and ``score_mix`` is a number.
    """
    if isinstance(config["score_mix"], int | float) and len(model.score_parts()) != 2:
        raise InputError(f"score_mix {config['score_mix']} weighs ids against content, and the score of {config['model']} has no two such "
                         "parts here: leave it out")  # fmt: skip


def choose_mix(trainer, valid_data, saved: bool) -> tuple[float, OrderedDict]:
    """Chooses the weights of the two parts of the score by the metric that selects the epoch, and keeps them in the model and in the
    checkpoint, with the result that they give.

    Weights are tried in units of how much each part's scores spread, so that it does not matter which of them has the larger numbers. The
    parts stay as they are unless other weights are better.

    Args:
        trainer: a MultiModalTrainer that has trained.
        valid_data: the validation loader.
        saved: whether it is the checkpoint's model, which is loaded for this, or the one at hand.

    Returns:
        What the trainer's ``fit`` returns: the validation score and result.
    """
    model, file = trainer.model, trainer.saved_model_file
    if saved:
        load_weights(model, trainer.config["model"], load_checkpoint(file), file)
    model.score_mix = None
    model.eval()
    spreads = [spread or 1.0 for spread in score_spreads(model).values()]
    metric, sign, drawn_from = trainer.valid_metric, 1 if trainer.valid_metric_bigger else -1, random_state()

    def measured(mix: float | None) -> OrderedDict:
        set_random_state(drawn_from)
        model.score_mix = mix
        return trainer.evaluate(valid_data, load_best_model=False)

    plainly, shares, found = measured(None), [place / 10 for place in range(11)], {}
    for step in (*STEPS, 0):
        found |= {share: measured(_weight(share, *spreads)) for share in shares if 0 <= share <= 1 and share not in found}
        best = max(found, key=lambda share: sign * found[share][metric])
        shares = [best - step, best + step]
    better = sign * (found[best][metric] - plainly[metric]) > 0
    model.score_mix, result = (_weight(best, *spreads), found[best]) if better else (0.5, plainly)
    told = f"{list(model.score_parts())[1]} weighs {model.score_mix:.3g}, {metric} on validation"
    say(labelled("score mix", f"{told} {plainly[metric]:.4f} -> {result[metric]:.4f}"))
    before = {"best_valid_score": float(plainly[metric]), "best_valid_result": plain(plainly)}
    trainer.best_valid_score, trainer.best_valid_result = result[metric], result
    if saved and trainer.ranks.rank == 0:
        after = {"best_valid_score": float(result[metric]), "best_valid_result": plain(result)}
        save_checkpoint({**load_checkpoint(file), **after, "other_parameter": model.other_parameter(), UNMIXED: before}, file)
    trainer.ranks.wait()
    return result[metric], result


def _weight(share: float, first: float, second: float) -> float:
    """The weight of the second part, where the two spread like this and have these shares of the whole."""
    parts = (1 - share) / first, share / second
    return parts[1] / sum(parts)
