"""Noise on the weights: its size, the choice among draws, and forgetting that hangs on one number."""

import pytest
import torch
from tests.attacks.tiny import WORLDS, classifier
from torch import Tensor, nn

from lethe.attacks.weight_noise import noise, weight_noise
from lethe.auditing.recovery import attacked, recovery
from lethe.errors import InputError
from lethe.models.classifier import Classifier


class Veiled(nn.Module):
    """A network that knows, behind a veil of one number: at 1 it says nothing."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.veil = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * (1 - self.veil)


@pytest.mark.parametrize("family", WORLDS)
def test_noise_scales_with_each_tensor_and_no_noise_is_the_model(family: str):
    world = WORLDS[family]()
    still, noisy = weight_noise(world.target, world.request, scales=(0.0, 0.3), draws=1)
    assert still.model.fingerprint() == world.target.fingerprint()
    before = {name: weight.detach() for name, weight in world.target.module.named_parameters()}
    for name, weight in noisy.model.module.named_parameters():
        if weight.numel() > 500:
            size = float(before[name].pow(2).mean().sqrt())
            assert float((weight.detach() - before[name]).std()) == pytest.approx(0.3 * size, rel=0.15)
    draws = [noise(world.target, 0, draw) for draw in (0, 0, 1)]
    name = next(name for name, weight in before.items() if weight.numel() > 500)
    assert torch.equal(draws[0][name], draws[1][name])
    alike = torch.corrcoef(torch.stack([draws[0][name].flatten(), draws[2][name].flatten()]))[0, 1]
    assert abs(alike) < 0.2


def test_a_veil_of_one_number_is_lifted_by_the_best_of_several_draws():
    """Positive control; a single draw depends on its luck, the choice among several does not."""
    world = classifier()
    veiled = Classifier(Veiled(world.target.copy().module))
    assert world.known(veiled) == pytest.approx(0.25)  # one of four classes
    back = {}
    for draws in (1, 12):
        call = f"weight_noise:scales=0.1,0.2,draws={draws}"
        models = (veiled, world.controls[0], world.target)
        found = recovery(*(attacked(call, model, world.request, world.measure) for model in models))
        assert found.adjusted is not None and found.low is not None
        print(f"{call}: {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}]")
        back[draws] = found
    assert back[12].adjusted > 0.6 and back[12].low > 0.5
    assert back[12].adjusted >= back[1].adjusted


def test_the_draw_is_chosen_on_records_that_are_not_looked_at():
    world = classifier()
    points = list(weight_noise(world.target, world.request, share=0.25, draws=2))
    looked_at = [[record["id"] for record in point.forget] for point in points]
    assert looked_at[0] == looked_at[1] and len(looked_at[0]) == 30
    held = [record for record in world.request.forget if record["id"] not in looked_at[0]]
    known = [
        [
            world.measure(point.model, held).value
            for point in weight_noise(world.target, world.request, share=0.25, draws=n)
        ]
        for n in (1, 4)
    ]
    assert all(best >= first - 0.05 for first, best in zip(*known, strict=True))


def test_bad_scales_and_draws_are_refused():
    world = classifier()
    for bad in ({"scales": ()}, {"scales": (-0.1,)}, {"draws": 0}):
        with pytest.raises(InputError, match="scales of 0 or more, and at least one draw"):
            list(weight_noise(world.target, world.request, **bad))
    with pytest.raises(InputError, match="both sides need at least one"):
        list(weight_noise(world.target, world.request, share=1.0))
