"""The keys of the recommendation loss that the chosen ``loss_type`` does not read."""

from collections.abc import Iterable, Mapping

SCORED = ("BPR", "SSM", "sampled_softmax")
READ_BY = {
    "loss_scores": SCORED,
    "loss_temperature": SCORED,
    "loss_negatives": ("sampled_softmax",),
    "loss_distribution": ("sampled_softmax",),
    "loss_uniformity": ("DirectAU",),
}


def unread_loss_keys(settings: Mapping, given: Iterable[str]) -> list[str]:
    """What the log should say of the keys that somebody has given and that the loss does not read.

    Args:
        settings: the merged settings.
        given: the keys that somebody has set.
    """
    loss = settings.get("loss_type")
    unread = [key for key, losses in READ_BY.items() if key in given and key in settings and loss not in losses]
    return [f"loss_type {loss} does not read {', '.join(unread)}"] if unread else []
