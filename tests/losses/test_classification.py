import pytest
import torch

from lethe.errors import InputError
from lethe.losses.classification import kl_temperature, random_labels


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_distillation_pulls_with_the_difference_of_softened_probabilities():
    teacher, student = (torch.randn(6, 4, generator=draw(seed), dtype=torch.float64) for seed in (0, 1))
    student.requires_grad_()
    values = kl_temperature(teacher, student, temperature=3)
    (slope,) = torch.autograd.grad(values.sum(), student)
    assert values.shape == (6,)
    assert torch.allclose(slope, 3 * ((student / 3).softmax(-1) - (teacher / 3).softmax(-1)))


@pytest.mark.parametrize("exclude_true", [False, True])
def test_random_labels_are_uniform(exclude_true: bool):
    labels = torch.full((30_000,), 2)
    shares = random_labels(labels, 5, draw(), exclude_true).bincount(minlength=5) / len(labels)
    expected = torch.full((5,), 0.2) if not exclude_true else torch.tensor([0.25, 0.25, 0, 0.25, 0.25])
    assert (shares - expected).abs().max() < 0.012  # five standard deviations of a share
    assert not exclude_true or shares[2] == 0


def test_random_labels_keep_shape_and_ignored_positions_and_follow_the_generator():
    labels = torch.tensor([[0, -100], [1, 2]])
    first, again = (random_labels(labels, 3, draw(7), exclude_true=True) for _ in range(2))
    assert torch.equal(first, again)
    assert first[0, 1] == -100
    assert (first != labels)[labels != -100].all()
    assert labels.tolist() == [[0, -100], [1, 2]]


def test_one_class_has_no_wrong_label():
    with pytest.raises(InputError, match="at least 2 classes"):
        random_labels(torch.zeros(3).long(), 1, draw(), exclude_true=True)
