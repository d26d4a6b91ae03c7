"""Diffusion over users' rows of interactions (Wang et al., "Diffusion Recommender Model", SIGIR 2023), as DiffMM has it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adam import adam

from recbole_mm.model.graph import InteractionGraph

NOISE = (1e-4, 0.02)
"""The variance of the noise at the first and at the last step, times ``noise_scale``."""
FIRST_BETA = 1e-4
"""The beta of the first step, whatever the scale."""
TIME_WIDTH = 10
DROPOUT = 0.5


class NoiseSchedule:
    """Gaussian noise that grows over T steps: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, with 1 - a_t rising linearly.

    Attributes:
        signal: a_t, (T,).
        weights: what a step counts in the loss, (T,): the signal-to-noise ratio of the step before less its own; 1 for the first step.
        of_prediction, of_noisy: the mean of x_(t-1), given x_t and x_0, is of_prediction * x_0 + of_noisy * x_t; (T,) each.
    """

    def __init__(self, steps: int, noise_scale: float) -> None:
        signal = 1 - noise_scale * torch.linspace(*NOISE, steps, dtype=torch.float64)
        betas = 1 - signal / functional.pad(signal[:-1], (1, 0), value=1.0)
        betas[0] = FIRST_BETA
        self.signal = (1 - betas).cumprod(0)
        before = functional.pad(self.signal[:-1], (1, 0), value=1.0)
        ratio = self.signal / (1 - self.signal)
        self.weights = functional.pad(ratio[:-1] - ratio[1:], (1, 0), value=1.0)
        self.of_prediction = betas * before.sqrt() / (1 - self.signal)
        self.of_noisy = (1 - before) * (1 - betas).sqrt() / (1 - self.signal)


class Denoiser(nn.Module):
    """Predicts a user's row x_0 from x_t: h = tanh(x_t A + (s(t) B + b) C + c), x_0^ = h D + d, s(t) a sinusoid of the step, (10,).

    It has an Adam of its own and trains in ``fit``, apart from what the recommender's optimiser trains: its weights and Adam's moments are
    buffers, so a checkpoint holds them, and no decay, clipping or schedule of the recommender touches them.

    Args:
        n_items: the width of a row.
        width: of h.
        schedule: the noise.
    """

    names = ("rows_in", "time", "time_bias", "time_in", "bias_in", "rows_out", "bias_out")

    def __init__(self, n_items: int, width: int, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.schedule = schedule
        into, out = math.sqrt(2 / (n_items + TIME_WIDTH + width)), math.sqrt(2 / (n_items + width))
        shapes = ((n_items, width), (TIME_WIDTH, TIME_WIDTH), (TIME_WIDTH,), (TIME_WIDTH, width), (width,), (width, n_items), (n_items,))
        spreads = (into, math.sqrt(1 / TIME_WIDTH), 1e-3, into, 1e-3, out, 1e-3)
        for name, shape, spread in zip(self.names, shapes, spreads, strict=True):
            self.register_buffer(name, torch.randn(shape) * spread)
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_square", torch.zeros(shape))
        self.register_buffer("steps", torch.zeros(len(self.names)))

    def fit(self, graph: InteractionGraph, content: Tensor, ids: Tensor, guidance: float, batch_size: int, learning_rate: float) -> float:
        """One epoch over all users, of whom ``batch_size`` have a dense row at a time. Returns the mean loss of the batches.

        Args:
            graph: the training interactions.
            content, ids, guidance: see ``loss``.
        """
        weights, losses = self._all(""), []
        users = 1 + torch.randperm(graph.n_users - 1, device=self.steps.device)
        for some in users.split(batch_size):
            with torch.enable_grad():
                leaves = [weight.detach().requires_grad_() for weight in weights]
                loss = self.loss(
                    graph.rows(some).to(self.rows_in.dtype), content, ids, guidance, dict(zip(self.names, leaves, strict=True))
                )
                gradients = torch.autograd.grad(loss, leaves)
            with torch.no_grad():
                moments = self._all("_mean"), self._all("_square"), [], list(self.steps.unbind())
                rates = {"lr": learning_rate, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
                adam(weights, list(gradients), *moments, **rates, amsgrad=False, maximize=False, fused=True)
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def loss(self, rows: Tensor, content: Tensor, ids: Tensor, guidance: float, weights: dict[str, Tensor] | None = None) -> Tensor:
        """The weighted squared error of x_0^ + ``guidance`` * that of x_0^ ``content`` as an estimate of x_0 ``ids``, means over all.

        Args:
            rows: x_0, (n, n_items).
            content, ids: features and id embeddings of the items, (n_items, d) each.
            weights: in place of the denoiser's own.
        """
        steps = torch.randint(len(self.schedule.signal), (len(rows),), device=rows.device)
        signal, counts = (values.to(rows)[steps].unsqueeze(1) for values in (self.schedule.signal, self.schedule.weights))
        noisy = torch.randn_like(rows).mul_((1 - signal).sqrt()).addcmul_(signal.sqrt(), rows)
        w = weights or dict(zip(self.names, self._all(""), strict=True))
        hidden = torch.tanh(functional.dropout(noisy, DROPOUT) @ w["rows_in"] + self.of_steps(steps, w))
        found = torch.addmm(w["bias_out"], hidden, w["rows_out"])
        return (counts * (found - rows).square()).mean() + guidance * (found @ content - rows @ ids).square().mean()

    def of_steps(self, steps: Tensor, w: dict[str, Tensor]) -> Tensor:
        """What the steps (n,) add to the hidden layer, (n, width)."""
        frequencies = torch.exp(-math.log(10000) * torch.arange(TIME_WIDTH // 2, device=steps.device) / (TIME_WIDTH // 2))
        angles = steps.unsqueeze(1) * frequencies
        sinusoid = torch.cat([angles.cos(), angles.sin()], dim=1).to(w["time"])
        return (sinusoid @ w["time"] + w["time_bias"]) @ w["time_in"] + w["bias_in"]

    @torch.no_grad()
    def top_items(self, graph: InteractionGraph, k: int, batch_size: int) -> Tensor:
        """The k items (n_users, k) that each user's row has the most of after T steps of denoising without noise, from x_T = x_0 on; 0, the
        padding item, for user 0.

        Only the first x_t A is made from the row itself. That of the next step follows from h and the two layers' product D A, without a
        row of all items.
        """
        w = dict(zip(self.names, self._all(""), strict=True))
        onward, onward_bias = w["rows_out"] @ w["rows_in"], w["bias_out"] @ w["rows_in"]
        tops = torch.zeros(graph.n_users, k, dtype=torch.long, device=self.steps.device)
        for some in torch.arange(1, graph.n_users, device=self.steps.device).split(batch_size):
            places, items = graph.of_users(some)
            inner = w["rows_in"].new_zeros(len(some), w["rows_in"].shape[1]).index_add_(0, places, w["rows_in"][items])
            for step in reversed(range(len(self.schedule.signal))):
                hidden = torch.tanh(inner + self.of_steps(torch.full((1,), step, device=some.device), w))
                if step:
                    of_prediction, of_noisy = self.schedule.of_prediction[step].item(), self.schedule.of_noisy[step].item()
                    inner = of_prediction * (hidden @ onward + onward_bias) + of_noisy * inner
            tops[some] = 1 + torch.addmm(w["bias_out"], hidden, w["rows_out"])[:, 1:].topk(k).indices
        return tops

    def _all(self, suffix: str) -> list[Tensor]:
        return [getattr(self, name + suffix) for name in self.names]
