"""Edits of the last layer and of whole models: what moves, against what they claim, and who is refused."""

from pathlib import Path

import pytest
import torch
from tests.models import tiny
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.losses.newton import head_gradient
from lethe.losses.weights import difference, shift
from lethe.methods.merging import merging
from lethe.methods.newton import newton
from lethe.methods.task_vector import task_vector
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.registry import find, settle


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.module.state_dict().items()}


@pytest.mark.parametrize("family", ["language", "classifier"])
def test_newton_moves_the_last_layer_alone_to_the_retain_optimum(family: str):
    given, request = tiny.model(family), tiny.request(family)
    made = newton(given, request, solver="newton", steps=30, damping=0.1)
    before, after = weights(given), weights(made)
    head = {"language": ["lm_head.weight"], "classifier": ["head.weight", "head.bias"]}[family]
    assert [name for name in before if not torch.equal(before[name], after[name])] == head
    linear = [module for module in made.module.modules() if isinstance(module, nn.Linear)][-1]
    read: list[Tensor] = []
    linear.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach()))
    batch = made.collate(made.encode(request.retain), range(len(request.retain)))
    made.logits(batch)
    features = read[0] if family == "language" else read[0][:, None]
    scored = batch.labels != -100
    rows = features[:, : scored.shape[1]][scored].double()
    parts = [after[name].double().reshape(linear.out_features, -1) for name in head]
    if family == "classifier":
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    joined = torch.cat(parts, 1)
    gradient = head_gradient(joined, rows, batch.labels[scored]) / len(rows) + 0.1 * joined
    assert gradient.abs().max() < 1e-5  # the head that training it on the retain records alone would end at


def test_influence_makes_the_forget_records_less_likely():
    given, request = tiny.classifier(), tiny.request("classifier")
    batch = given.collate(given.encode(request.forget), range(len(request.forget)))
    loss = [float(model.loss(batch).detach().mean()) for model in (given, newton(given, request, damping=1.0))]
    assert loss[1] > loss[0]


def test_newton_refuses_heads_that_are_none_of_their_own():
    with pytest.raises(InputError, match="its input embedding, too; untie"):
        newton(tiny.language("qwen2"), tiny.request("language"))
    with pytest.raises(InputError, match="damping=0"):
        newton(tiny.language(), tiny.request("language"), damping=0.0)
    with pytest.raises(InputError, match="no linear last layer"):
        newton(Classifier(nn.Flatten()), tiny.request("classifier"))


def test_two_models_are_averaged_or_interpolated(tmp_path: Path):
    given, request = tiny.classifier(), tiny.request("classifier")
    folders = [str(tiny.classifier(seed).save(tmp_path / str(seed))) for seed in (1, 2)]
    others = [weights(tiny.classifier(seed)) for seed in (1, 2)]
    both = weights(merging(given, request, models=tuple(folders), rule="linear"))
    assert all(torch.allclose(both[name], (others[0][name] + others[1][name]) / 2, atol=1e-6) for name in both)
    part = weights(merging(given, request, models=(folders[0],), rule="linear", alpha=0.25))
    expected = shift(weights(given), difference(others[0], weights(given)), 0.25)
    assert all(torch.allclose(part[name], expected[name], atol=1e-6) for name in part)
    wide = str(tiny.classifier(width=8).save(tmp_path / "wide"))
    with pytest.raises(InputError, match="both must have one architecture"):
        merging(given, request, models=(wide,))


def test_a_vector_from_the_base_is_subtracted_from_the_target(tmp_path: Path):
    """The base's own fine-tuning on the forget set, not the target's."""
    given, base, request = tiny.classifier(), tiny.classifier(5), tiny.request("classifier")
    folder = str(base.save(tmp_path / "base"))
    made = task_vector(given, request, start="base", base=folder, lr=1e-2, epochs=2, alpha=1.5)
    from_base = weights(task_vector(base, request, lr=1e-2, epochs=2, alpha=-1.0))  # base + its vector
    expected = shift(weights(given), difference(from_base, weights(base)), -1.5)
    assert all(torch.allclose(tensor, expected[name], atol=1e-6) for name, tensor in weights(made).items())
    for wrong in ({"start": "base"}, {"base": folder}):
        with pytest.raises(InputError, match="belong together"):
            task_vector(given, request, **wrong)


def test_published_settings_are_those_of_the_benchmark_or_said_to_be_missing():
    card = find("method", "task_vector")
    assert settle(card, {"preset": "paper", "lr": 1e-3})["alpha"] == 5.0
    assert not find("method", "merging").presets
    assert "No preset paper" in (merging.__doc__ or "")
