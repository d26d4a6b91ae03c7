"""The gradients of embeddings that a batch looks up: of the batch's rows instead of the whole table."""

from collections.abc import Collection

import torch
from torch import nn

ROW_BY_ROW = ("sgd", "adagrad")
"""The learners for which a row without gradient stays exactly as it is."""


def use_row_gradients(config, model: nn.Module, spared: Collection[nn.Parameter] = ()) -> None:
    """From now on, looking up rows of a table (``nn.Embedding``) makes gradients of these rows. Without this, each look-up makes a gradient
    of the table's size, which is zero but for these rows. Where a model also reads a table as a whole, nothing changes. On a GPU, where
    the order of the sums would be random, all stays as it is.

    What the optimiser makes of them depends on the learner:

    - ``sgd`` and ``adagrad``: a gradient of zero changes nothing, so they read and write the rows alone. With ``weight_decay`` every row
      shrinks in every step, and ``clip_grad_norm`` reads whole gradients: then as for the others.
    - ``adam``, ``adamw`` and ``rmsprop``: a row goes on moving by the momentum of earlier steps, or the mean of its squared gradients
      shrinks. So they get the whole gradient, in the same memory every time, where only the rows of the batch before are set to zero
      and only those of this batch are written.

    Args:
        config: the settings of the run.
        spared: parameters that are left alone.
    """
    if config["device"].type != "cpu" or not config["single_spec"]:
        return
    alone = config["learner"].lower() in ROW_BY_ROW and not config["weight_decay"] and not config["clip_grad_norm"]
    torch.sparse.check_sparse_tensor_invariants.disable()  # as they are anyway, but without a warning
    known = {id(p) for p in spared}
    for table in model.modules():
        if type(table) is nn.Embedding and not table.scale_grad_by_freq and table.max_norm is None and id(table.weight) not in known:
            table.sparse = True
            if not alone and table.weight.requires_grad:
                table.weight.register_post_accumulate_grad_hook(_WholeGradient())
                known.add(id(table.weight))


class _WholeGradient:
    """Puts a table's gradient of some rows in the place of the same rows of a whole one, whose memory it keeps."""

    def __init__(self) -> None:
        self.whole: torch.Tensor | None = None
        self.rows: torch.Tensor | None = None

    @torch.no_grad()
    def __call__(self, parameter: nn.Parameter) -> None:
        gradient = parameter.grad
        if not gradient.is_sparse:
            self.rows = None  # more has come in, where gradients of several batches are added up
            return
        if self.whole is None:
            self.whole = torch.zeros_like(parameter)
        elif self.rows is None:
            self.whole.zero_()
        else:
            self.whole.index_fill_(0, self.rows, 0)
        self.rows = gradient._indices()[0]
        self.whole.index_add_(0, self.rows, gradient._values())
        parameter.grad = self.whole
