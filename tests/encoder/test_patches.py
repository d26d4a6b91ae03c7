"""Pictures that keep their shape: patches with places, in one tensor of bytes."""

import pytest
import torch

from recbole_mm.encoder.patches import read_places, stack_pictures, with_places


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Patches of two pixels."""
    pixels = torch.randint(0, 256, (height * width, 6), generator=torch.Generator().manual_seed(seed))
    return with_places(pixels, height, width)


def test_places_count_rows_and_columns_from_one():
    made = picture(2, 3)
    assert made.dtype == torch.uint8 and made[:, 6:].tolist() == [[0, r, 0, c] for r in (1, 2) for c in (1, 2, 3)]
    assert picture(1, 300)[-1, 6:].tolist() == [0, 1, 1, 44], "column 300 takes two bytes"


@pytest.mark.parametrize("shapes", [[(2, 3), (1, 1), (4, 2)], [(1, 300)], [(300, 2), (3, 5)]])
def test_a_batch_says_the_shapes_of_its_pictures(shapes):
    pictures = [picture(*shape, seed=i) for i, shape in enumerate(shapes)]
    padded = torch.nn.functional.pad(stack_pictures(pictures), (0, 0, 0, 7))
    values, mask, grid = read_places(padded)
    assert grid.tolist() == [list(shape) for shape in shapes] and mask.sum(1).tolist() == [len(p) for p in pictures]
    assert torch.equal(values, stack_pictures(pictures)), "padding of the whole batch is cut"
    assert all(torch.equal(row[m], p) for row, m, p in zip(values, mask, pictures, strict=True))


def test_a_black_picture_is_no_padding_and_an_empty_one_has_one_patch():
    batch = stack_pictures([with_places(torch.zeros(6, 6), 2, 3), torch.zeros(6, 10, dtype=torch.uint8)])
    _, mask, grid = read_places(batch)
    assert mask.sum(1).tolist() == [6, 1] and grid.tolist() == [[2, 3], [1, 1]]


def test_pictures_of_one_size_are_stacked():
    pictures = [torch.full((3, 4, 5), i, dtype=torch.uint8) for i in range(3)]
    assert torch.equal(stack_pictures(pictures), torch.stack(pictures))
