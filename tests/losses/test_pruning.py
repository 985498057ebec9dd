"""Scores and masks of pruning, by hand."""

import torch

from lethe.losses.pruning import lowest, wanda


def test_wanda_by_hand():
    """Weights times input norms; of two equal scores the first goes."""
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    scores = wanda(weight, torch.tensor([2.0, 1.0]))
    assert scores.tolist() == [[2, 2], [6, 0.5]]
    assert lowest(scores, 0.5).tolist() == [[True, False], [False, True]]
    assert lowest(weight.abs(), 0.5).tolist() == [[True, False], [False, True]]


def test_exactly_the_share_of_every_row_is_chosen():
    scores = torch.rand(7, 100, generator=torch.Generator().manual_seed(0))
    for share, count in ((0.0, 0), (0.29, 29), (0.5, 50), (0.999, 99)):
        chosen = lowest(scores, share)
        assert chosen.sum(1).tolist() == [count] * 7
        for row, mask in zip(scores, chosen, strict=True):
            assert not mask.any() or row[mask].max() <= row[~mask].min()
