import pytest
import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.weights import difference, merged, shift


def model(value: float) -> dict[str, Tensor]:
    return {"weight": value * torch.ones(2, 2), "steps": torch.tensor(int(value)), "bias": value * torch.ones(1)}


def test_a_vector_leads_from_its_start_to_its_end():
    vector = difference(model(5), model(1))
    assert set(vector) == {"weight", "bias"}  # the counter is no part of it
    assert torch.equal(shift(model(1), vector, 1)["weight"], model(5)["weight"])
    assert torch.equal(shift(model(1), vector, 0.25)["bias"], model(2)["bias"])
    assert shift(model(1), vector, 1)["steps"] == 1


def test_the_result_shares_no_memory_and_needs_no_gradient():
    start = model(1)
    start["weight"].requires_grad_()
    moved = shift(start, difference(start, model(0)), 0)
    for tensor in moved.values():
        tensor.zero_()
    assert not moved["weight"].requires_grad
    assert start["weight"].sum() == 4
    assert start["steps"] == 1


def test_half_precision_is_computed_wide_and_kept():
    end, start = ({"w": torch.tensor([value]).bfloat16()} for value in (1.0078125, 1.0))
    vector = difference(end, start)
    assert vector["w"].dtype == torch.float32
    moved = shift(start, vector, 3)
    assert moved["w"].dtype == torch.bfloat16
    assert moved["w"].item() == 1.0234375
    tiny = {"w": torch.tensor([2**-10]).bfloat16()}
    assert difference(tiny, start)["w"].item() == 2**-10 - 1  # bfloat16 would round it to -1


def test_two_architectures_are_refused():
    other = {"weight": torch.ones(3, 2), "bias": torch.ones(1)}
    with pytest.raises(InputError, match="'weight' is \\(3, 2\\)"):
        difference(other, model(1))
    with pytest.raises(InputError, match="'weight' is \\(2, 2\\)"):
        shift(model(1), other, 1)
    with pytest.raises(InputError, match="'head', which the model lacks"):
        shift(model(1), {"head": torch.ones(1)}, 1)


def one(*values: float) -> dict[str, Tensor]:
    return {"a": torch.tensor(values[:2]), "b": torch.tensor(values[2:])}


def test_forgetting_by_negation():
    """target - alpha (tuned - start), worked out by hand; what the vector lacks stays."""
    target, tuned = {"w": torch.tensor([1.0, -2.0]), "odd": torch.ones(1)}, {"w": torch.tensor([1.5, -1.0])}
    moved = shift(target, difference(tuned, target), -2.0)
    assert moved["w"].tolist() == [0.0, -4.0]
    assert moved["odd"].tolist() == [1.0]


def test_ties_leaves_out_what_disagrees():
    first, second = one(4.0, -1.0, 2.0, 0.1), one(2.0, 3.0, -1.0, 0.0)
    mean = merged([first, second])
    assert torch.cat(list(mean.values())).tolist() == pytest.approx([3.0, 1.0, 0.5, 0.05])
    ties = merged([first, second], "ties")
    assert torch.cat(list(ties.values())).tolist() == pytest.approx([3.0, 3.0, 2.0, 0.1])
    trimmed = merged([first, second], "ties", density=0.5)  # 4 and 2 of the first, 2 and 3 of the second are kept
    assert torch.cat(list(trimmed.values())).tolist() == pytest.approx([3.0, 3.0, 2.0, 0.0])


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="no vector"):
        merged([])
    with pytest.raises(InputError, match="rule is 'tie'"):
        merged([one(1, 2, 3, 4)], "tie")
    with pytest.raises(InputError, match="hold 'b'"):
        merged([one(1, 2, 3, 4), {"a": torch.ones(2)}])
