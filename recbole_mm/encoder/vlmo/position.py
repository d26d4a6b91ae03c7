"""Positions of tokens: VLMo's relative position bias, and the resizing of positions that were learnt at another resolution.

The bias table has one row per offset and one column per (layer, head). With a window of W x W patches and T text positions its rows
are: (2W-1)^2 image offsets, 3 rows for the image [CLS], one for text to image, one for image to text, 2T-3 text offsets, and 3 rows for
the text [CLS]. The three rows of a [CLS] are: from [CLS], to [CLS], and [CLS] to itself.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CLS_SLOTS = 3
CROSS_SLOTS = 2


def image_rows(window: int) -> int:
    """Rows of the bias table that belong to pictures of ``window`` x ``window`` patches."""
    return (2 * window - 1) ** 2 + CLS_SLOTS


def table_rows(window: int, text_len: int) -> int:
    """All rows of the bias table for ``text_len`` text positions."""
    return image_rows(window) + CROSS_SLOTS + 2 * text_len


def image_index(window: int, device: torch.device | None = None) -> Tensor:
    """int64 (W*W+1, W*W+1): the table's row for every pair of image tokens, [CLS] first, patches row by row."""
    cell = torch.arange(window * window, device=device)
    row, column = cell // window, cell % window
    span = 2 * window - 1
    offset = (row[:, None] - row + window - 1) * span + (column[:, None] - column + window - 1)
    return _with_cls(offset, image_rows(window))


def text_index(window: int, text_len: int, length: int, device: torch.device | None = None) -> Tensor:
    """int64 (length, length): the table's row for every pair of the first ``length`` of ``text_len`` text positions."""
    place = torch.arange(length - 1, device=device)
    offset = place - place[:, None] + (text_len - 2) + image_rows(window) + CROSS_SLOTS
    return _with_cls(offset, table_rows(window, text_len))


def joint_index(window: int, text_len: int, length: int, device: torch.device | None = None) -> Tensor:
    """int64 (length+W*W+1, length+W*W+1): the same for a text followed by a picture."""
    text, image = text_index(window, text_len, length, device), image_index(window, device)
    cross = image_rows(window)
    upper = torch.cat((text, text.new_full((len(text), len(image)), cross)), 1)
    lower = torch.cat((text.new_full((len(image), len(text)), cross + 1), image), 1)
    return torch.cat((upper, lower))


def layer_biases(table: Tensor, index: Tensor, depth: int) -> tuple[Tensor, ...]:
    """The biases of all layers at once.

    Args:
        table: (rows, depth * heads).
        index: int64 (n, n).

    Returns:
        ``depth`` tensors (heads, n, n).
    """
    n = len(index)
    return F.embedding(index.flatten(), table).t().reshape(depth, -1, n, n).unbind(0)


def resize_bias_table(table: Tensor, source: int, target: int) -> Tensor:
    """A bias table for another window: each column is interpolated by a cubic spline through the image offsets; the other rows stay.

    As in the released code, the learnt offsets are taken to lie not on the target's unit grid but on a geometric grid, dense in the
    middle, that spans the target's offsets: near neighbours keep their bias.

    Args:
        table: (rows, columns) for ``source`` x ``source`` patches.
        source, target: windows.
    """
    from scipy.interpolate import RectBivariateSpline

    before, after = 2 * source - 1, 2 * target - 1
    grid = _geometric_offsets(source - 1, target - 1)
    wanted = torch.arange(-(target - 1), target, dtype=torch.float64).numpy()
    surfaces = table[: before**2].double().cpu().t().reshape(-1, before, before).numpy()
    degree = min(3, before - 1)
    resized = [RectBivariateSpline(grid, grid, surface, kx=degree, ky=degree, s=0)(wanted, wanted).reshape(-1) for surface in surfaces]
    offsets = torch.stack([torch.from_numpy(column) for column in resized], 1)
    return torch.cat((offsets.to(table), table[before**2 :])).view(after**2 + len(table) - before**2, -1)


def resize_absolute(positions: Tensor, target: int) -> Tensor:
    """Absolute image positions (1, W*W+1, d) -> (1, target*target+1, d): bicubic, [CLS] kept."""
    source = math.isqrt(positions.shape[1] - 1)
    grid = positions[:, 1:].float().reshape(1, source, source, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(target, target), mode="bicubic", align_corners=False)
    return torch.cat((positions[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2).to(positions)), 1)


def _with_cls(offset: Tensor, end: int) -> Tensor:
    index = F.pad(offset, (1, 0, 1, 0))
    index[0, :], index[:, 0], index[0, 0] = end - 3, end - 2, end - 1
    return index


def _geometric_offsets(terms: int, reach: int) -> list[float]:
    """-d_n .. -d_1, 0, d_1 .. d_n with d_k = 1 + q + ... + q^(k-1) and q such that d_n is ``reach``, as far as q in [1.01, 1.5] can."""
    low, high, ratio = 1.01, 1.5, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        low, high = (low, ratio) if (ratio**terms - 1) / (ratio - 1) > reach else (ratio, high)
    distances = [sum(ratio**power for power in range(k)) for k in range(1, terms + 1)]
    return [-d for d in reversed(distances)] + [0.0] + distances
