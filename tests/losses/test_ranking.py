from itertools import pairwise

import torch

from lethe.losses.ranking import bpr, reverse_bpr


def margins(ascent: bool, steps: int = 400) -> tuple[list[float], list[float]]:
    """Margin and loss of one triple along gradient descent on reverse BPR, or on minus BPR."""
    pos, neg = (torch.tensor([score], dtype=torch.float64, requires_grad=True) for score in (2.0, 0.5))
    path, values = [], []
    for _ in range(steps):
        value = -bpr(pos, neg) if ascent else reverse_bpr(pos, neg)
        path.append((pos - neg).item())
        values.append(value.item())
        for score, slope in zip((pos, neg), torch.autograd.grad(value, (pos, neg)), strict=True):
            score.data -= 0.5 * slope
    return path, values


def test_reverse_bpr_lowers_the_margin_at_every_step_and_comes_to_rest():
    path, values = margins(ascent=False)
    assert all(after < before for before, after in pairwise(path))
    assert all(value > 0 for value in values)
    assert values[-1] < 0.005
    assert path[0] > 0 > path[-1] > -7


def test_ascent_on_bpr_never_comes_to_rest():
    path, values = margins(ascent=True)
    assert path[-1] < -300
    assert values[-1] < -300


def test_scores_in_bfloat16_are_compared_in_float32():
    assert bpr(torch.tensor([2.0]).bfloat16(), torch.tensor([0.5]).bfloat16()).dtype == torch.float32
