"""Is VLMo's fused attention worth it? Peak memory and time of a forward and backward pass against eager attention.

    python benchmarks/attention.py [--size base] [--n 8] [--repeats 3] [--steps 3]

Both variants are the same module and weights; eager attention adds the bias to the logits in float32 and lets autograd keep what
it needs. Every measurement is a process of its own, the variants take turns, and the best of each is compared.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
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


def plain(qkv: Tensor, bias: Tensor | None, padding: Tensor | None) -> Tensor:
    return attention._fused(qkv, bias, padding)


VARIANTS = {"fused": attention.biased_attention, "plain": plain, "eager": eager}


def measure(variant: str, size: str, n: int, steps: int, joint: bool) -> dict:
    """Peak MiB above the model's own, and seconds of the fastest of ``steps`` passes."""
    block.biased_attention = VARIANTS[variant]
    torch.manual_seed(0)
    model = VLMo(VLMoConfig.named(size)).train()
    config = model.config
    pixels = torch.rand(n, 3, config.image_size, config.image_size) * 2 - 1
    token_ids = torch.randint(1, config.vocab_size, (n, config.max_text_len))
    mask = (torch.arange(config.max_text_len) < torch.randint(5, config.max_text_len + 1, (n, 1))).long()
    before, seconds = _peak(), []
    for _ in range(steps):
        model.zero_grad(set_to_none=True)
        started = time.process_time()
        if joint:
            loss = model.encode_joint(pixels, token_ids, mask).cls_feats.square().sum()
        else:
            loss = (model.encode_image(pixels).cls_feats * model.encode_text(token_ids, mask).cls_feats).sum()
        loss.backward()
        seconds.append(time.process_time() - started)
    return {"mib": _peak() - before, "seconds": min(seconds)}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="base")
    parser.add_argument("--n", type=int, default=8, help="pictures, and texts")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--joint", action="store_true", help="one joint pass instead of one a modality")
    parser.add_argument("--variants", nargs="+", default=["fused", "eager"], choices=list(VARIANTS))
    parser.add_argument("--measure", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.size, options.n, options.steps, options.joint)))
        return
    found = {variant: [] for variant in options.variants}
    for _ in range(options.repeats):
        for variant in options.variants:
            done = subprocess.run([sys.executable, *sys.argv, "--measure", variant], capture_output=True, text=True, check=True)
            found[variant].append(json.loads(done.stdout))
            print(variant, found[variant][-1], flush=True)
    best = {variant: {key: min(run[key] for run in runs) for key in ("mib", "seconds")} for variant, runs in found.items()}
    for variant in options.variants:
        memory, pace = (best[variant][key] / best["eager"][key] for key in ("mib", "seconds"))
        print(f"{variant}: {best[variant]['mib']:.0f} MiB, {best[variant]['seconds']:.2f} s; of eager: memory {memory:.3f}, time {pace:.3f}")


if __name__ == "__main__":
    main()
