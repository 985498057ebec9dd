import pytest
import torch

from lethe.losses.misdirection import rmu, rmu_coefficient, rmu_direction


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_direction_follows_its_generator():
    first, again, other = (rmu_direction(32, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gradient_is_the_distance_over_tokens_and_channels():
    hidden, target = draw(3, 4, 5).requires_grad_(), draw(5, seed=1)
    (slope,) = torch.autograd.grad(rmu(hidden, target, torch.ones(3, 4, dtype=torch.bool)).mean(), hidden)
    assert torch.allclose(slope, 2 * (hidden.detach() - target) / hidden.numel())


def test_retain_term_starts_at_exactly_zero():
    hidden = draw(2, 3, 4).requires_grad_()
    value = rmu(hidden, hidden.detach().clone(), torch.ones(2, 3, dtype=torch.bool))
    (slope,) = torch.autograd.grad(value.sum(), hidden)
    assert torch.equal(value, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(slope, torch.zeros_like(slope))


@pytest.mark.parametrize("shape", [(3, 5), (3, 1, 5), (1,), (4,)])
def test_target_that_would_broadcast_wrongly_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="target of shape"):
        rmu(draw(3, 3, 5), draw(*shape), torch.ones(3, 3, dtype=torch.bool))


def test_adaptive_coefficient_leaves_padding_out():
    hidden = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [60.0, 80.0]]])
    mask = torch.tensor([[True, True, False]])
    assert rmu_coefficient(hidden, mask).tolist() == [15]
    assert rmu_coefficient(hidden, mask, scale=1, compat="reference").tolist() == pytest.approx([106 / 3])
