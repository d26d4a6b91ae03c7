"""The speed of an encoder by itself, which the speed of training it inside of a recommender is compared with."""

from statistics import median

import torch

from recbole_mm.encoder.base import Inputs
from recbole_mm.items.encoded_items import EncodedItems
from recbole_mm.items.encoding_cost import EncodingCost
from recbole_mm.parallel.randomness import drawn_gpus

PASSES, SECONDS, WARM_UP_ITEMS = 3, 5, 8


def bare_throughput(items: EncodedItems) -> float | None:
    """Items per second of the encoder's forward and backward pass alone, on inputs that are in memory already.

    It is the median of up to 3 calls within 5 seconds. Each has as many items as the largest call in training had, and as many of
    those have each modality. All processes are to call this together.

    Returns:
        None where training has encoded nothing.
    """
    calls = items.ranks.collect(items.largest_call)
    most = {key: max(call.get(key, 0) for call in calls) for key in ("items", *items.modalities)}
    here = {m: items.present[m].nonzero().squeeze(1)[: most[m]].to(items.device) for m in items.modalities if most[m]}
    if not here:
        return None
    training, seconds = items.encoder.training, []
    items.encoder.train()
    with torch.random.fork_rng(devices=drawn_gpus()), torch.enable_grad():
        ready = {m: items.read(m, ids) for m, ids in here.items()}
        seconds_of_pass(items, {m: _first_items(inputs, WARM_UP_ITEMS) for m, inputs in ready.items()})
        while len(seconds) < PASSES and items.ranks.agree(sum(seconds) < SECONDS):
            seconds.append(seconds_of_pass(items, ready))
    items.encoder.train(training)
    return most["items"] / median(seconds)


def seconds_of_pass(items: EncodedItems, inputs: dict[str, Inputs]) -> float:
    """Seconds that the encoder's forward and backward pass takes on ``{modality: inputs}``."""
    spent = EncodingCost()
    with spent.measure(0, items.device):
        sum(items.forward(m, values).square().sum() for m, values in inputs.items()).backward()
    items.encoder.zero_grad()
    return spent.seconds


def _first_items(inputs: Inputs, n: int) -> Inputs:
    return tuple(part[:n] for part in inputs) if isinstance(inputs, tuple) else inputs[:n]
