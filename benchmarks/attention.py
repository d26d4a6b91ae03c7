"""Is VLMo's fused attention worth it? Peak memory and time of a training pass, as ratios to eager attention.

    python benchmarks/attention.py [--size base] [--n 8] [--passes 10] [--repeats 2] [--joint] [--variants fused plain eager]

All variants are the same module and weights. "eager" adds the bias to the logits in float32 and lets autograd keep what it needs;
"plain" leaves the gradient of the bias to torch's scaled_dot_product_attention. Memory: the highest resident set above the model's
own, a fresh process a measurement, the least of ``repeats``. Time: processor seconds of passes that take turns in one process, the
fastest of each and the median of the ratios within a turn. Where there is a GPU, it is used: memory is what is allocated there, time the
clock's, and "fused" is "plain".
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from clock import DEVICE, clock
from torch import Tensor

from recbole_mm.encoder.vlmo import VLMo, VLMoConfig, attention, block


def eager(qkv: Tensor, bias: Tensor | None, padding: Tensor | None) -> Tensor:
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    logits = (q * q.shape[-1] ** -0.5).float() @ k.float().mT
    if bias is not None:
        logits = logits + bias
    if padding is not None:
        logits = logits.masked_fill(padding[:, None, None], -torch.inf)
    return (logits.softmax(-1).type_as(v) @ v).transpose(1, 2)


VARIANTS = {"fused": attention.biased_attention, "plain": attention._fused, "eager": eager}


def training_pass(options: argparse.Namespace) -> Callable[[str], float]:
    """A function: variant -> seconds of one forward and backward pass of n pictures and n texts."""
    torch.manual_seed(0)
    torch.set_default_device(DEVICE)
    model = VLMo(VLMoConfig.named(options.size)).train()
    config, n = model.config, options.n
    pixels = torch.rand(n, 3, config.image_size, config.image_size) * 2 - 1
    token_ids = torch.randint(1, config.vocab_size, (n, config.max_text_len))
    mask = (torch.arange(config.max_text_len) < torch.randint(5, config.max_text_len + 1, (n, 1))).long()

    now = clock if DEVICE == "cuda" else time.process_time

    def run(variant: str) -> float:
        block.biased_attention = VARIANTS[variant]
        model.zero_grad(set_to_none=True)
        started = now()
        if options.joint:
            loss = model.encode_joint(pixels, token_ids, mask).cls_feats.square().sum()
        else:
            loss = (model.encode_image(pixels).cls_feats * model.encode_text(token_ids, mask).cls_feats).sum()
        loss.backward()
        return now() - started

    return run


def peak_mib() -> float:
    """Of this program so far (Linux); ru_maxrss would begin with the peak of the process that started it."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="base")
    parser.add_argument("--n", type=int, default=8, help="pictures, and texts")
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--joint", action="store_true", help="one joint pass instead of one a modality")
    parser.add_argument("--variants", nargs="+", default=["fused", "eager"], choices=list(VARIANTS))
    parser.add_argument("--memory-of", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    run = training_pass(options)
    if options.memory_of:
        before = peak_mib()
        for _ in range(2):
            run(options.memory_of)
        print(json.dumps(peak_mib() - before))
        return
    turns = [{variant: run(variant) for variant in options.variants} for _ in range(options.passes + 1)][1:]
    command = [sys.executable, *sys.argv, "--memory-of"]
    memory = {variant: [] for variant in options.variants}
    for _ in range(options.repeats):
        for variant in options.variants:
            done = subprocess.run([*command, variant], capture_output=True, text=True, check=True)
            memory[variant].append(json.loads(done.stdout))
    for variant in options.variants:
        fastest = min(turn[variant] for turn in turns)
        line = f"{variant}: {min(memory[variant]):.0f} MiB, {fastest:.3f} s"
        if "eager" in options.variants:
            pace = fastest / min(turn["eager"] for turn in turns)
            typical = median(turn[variant] / turn["eager"] for turn in turns)
            line += f"; of eager: memory {min(memory[variant]) / min(memory['eager']):.3f}, time {pace:.3f} (median {typical:.3f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
