"""Access to the Hugging Face hub without waiting half a minute where there is no network."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
REMEMBER_SECONDS = 60.0

_unreachable_until = 0.0


@contextmanager
def hub_access() -> Iterator[bool]:
    """Inside the block, hub calls use the network if the hub answers (yields True), else only the hub's cache (yields False).

    huggingface_hub retries an unreachable hub five times, which takes 23 s per file even for cached files. Here a single request through
    its own session (so proxies and certificates are respected) decides; after a failure the hub counts as unreachable for a minute.
    With HF_HUB_OFFLINE=1 nothing is asked.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield False
        return
    if _reachable(constants.ENDPOINT):
        yield True
        return
    logger.info("%s does not answer: only files in the Hugging Face cache are used", constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = True
    try:
        yield False
    finally:
        constants.HF_HUB_OFFLINE = False


def _reachable(endpoint: str) -> bool:
    from huggingface_hub.utils import get_session

    global _unreachable_until
    if time.monotonic() < _unreachable_until:
        return False
    try:
        get_session().head(endpoint, timeout=PROBE_SECONDS)
    except Exception:  # the HTTP library, and so its error classes, differ between versions of huggingface_hub
        _unreachable_until = time.monotonic() + REMEMBER_SECONDS
        return False
    return True
