"""The keys of the recommendation loss that the chosen ``loss_type`` does not read."""

from collections.abc import Mapping

SCORED = ("BPR", "SSM", "sampled_softmax", "CE", "auto")
READ_BY = {
    "loss_scores": SCORED,
    "loss_temperature": SCORED,
    "loss_negatives": ("sampled_softmax",),
    "loss_distribution": ("sampled_softmax",),
    "loss_uniformity": ("DirectAU",),
}


def unread_loss_keys(settings: Mapping, defaults: Mapping) -> list[str]:
    """What the log should say of the keys that somebody has set to another value and that the loss does not read.

    Args:
        settings: the merged settings.
        defaults: what they are where nobody sets them.
    """
    loss = settings.get("loss_type")
    unread = [key for key, losses in READ_BY.items() if settings.get(key) != defaults.get(key) and loss not in losses]
    return [f"loss_type {loss} does not read {', '.join(unread)}"] if unread else []
