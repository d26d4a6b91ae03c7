"""The rates and the memory that ``gpu.py`` measures things by, without any data set."""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from clock import DEVICE, fastest
from torch.utils.flop_counter import FlopCounterMode

from recbole_mm.encoder import ItemEncoder, create_encoder
from recbole_mm.parallel.sharding import OLDEST_TORCH, OneByOne, shard
from recbole_mm.training.cost import peak_memory

WORDS = "a small red boat"


def rates(n: int) -> dict[str, str]:
    """Of n x n matrices: products in bf16, float32 and TF32, and how fast memory is copied."""
    found = {}
    for name, dtype, tf32 in (("bf16", torch.bfloat16, False), ("float32", torch.float32, False), ("TF32", torch.float32, True)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        one, other = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
        found[name] = f"{2 * n**3 / fastest(lambda a=one, b=other: a @ b) / 1e12:.4g} TFLOP/s"
    copied = torch.empty(n, n, device=DEVICE)
    found["memory, read and written"] = f"{8 * n * n / fastest(lambda: torch.empty_like(copied).copy_(copied)) / 1e9:.0f} GB/s"
    return found


def inputs_of(encoder: ItemEncoder, n: int) -> list[dict[str, torch.Tensor]]:
    """Random pixels and a text for n items, by themselves as towers take them."""
    height, width = encoder.image_size
    given = {"image": torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8), "text": encoder.tokenize([WORDS] * n)}
    return [{modality: given[modality].to(DEVICE)} for modality in encoder.modalities if modality in given]


def useful_flops(encoder: ItemEncoder, n: int = 4) -> float:
    """Of a picture and a text, forward and backward: three times the forward pass, without what checkpointing or chunks repeat."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for inputs in inputs_of(encoder, n):
            encoder(inputs)
    return 3 * counter.get_total_flops() / n


def group(folder: Path) -> Iterator[tuple[str, str]]:
    """Joins a group of one process, and sends through it what training sends."""
    backend = "cpu:gloo,cuda:nccl" if DEVICE == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder / 'rendezvous'}", rank=0, world_size=1)
    values = torch.arange(2.0**24, device=DEVICE)
    for name, work in (
        ("all_reduce", lambda: dist.all_reduce(values)),
        ("all_gather", lambda: dist.all_gather([torch.empty_like(values)], values)),
        ("broadcast", lambda: dist.broadcast(values, 0)),
    ):
        seconds = fastest(work)
        right = "right" if torch.equal(values.cpu(), torch.arange(2.0**24)) else "WRONG"
        yield f"{backend.rpartition(':')[2]}, one process: {name} of 64 MiB", f"{right}, {1000 * seconds:.2f} ms"


def fsdp_memory(name: str, n: int) -> Iterator[tuple[str, str]]:
    """A training step of an encoder, whole and sharded over the group's one process, each with checkpointing."""
    if torch.__version__ < OLDEST_TORCH:
        yield "FSDP", f"needs torch {OLDEST_TORCH}"
        return
    for sharded in (False, True):
        if DEVICE == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        encoder = create_encoder(name, gradient_checkpointing=True)
        one_by_one = OneByOne(shard(encoder, encoder.layers(), torch.device(DEVICE))) if sharded else None
        encoder.to(DEVICE).train()
        optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-5)
        for _ in range(2):
            for inputs in inputs_of(encoder, n):
                loss = sum(rows.square().mean() for rows in encoder(inputs).values())
                if one_by_one is None:
                    loss.backward()
                else:
                    with one_by_one:
                        loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        parameters = sum(p.numel() for p in encoder.parameters()) / 1e6
        kind, peak = "FSDP, one process" if sharded else "whole", peak_memory(torch.device(DEVICE))
        yield f"{kind}: {n} items, {parameters:.0f} M parameters", f"{peak:.0f} MiB"
        del encoder, optimiser, one_by_one, loss
