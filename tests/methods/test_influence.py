"""The influence step on a network: its curvature products, and where the step leads."""

import numpy as np
import pytest
import torch
from tests.attacks.tiny import classifier
from torch import nn

from lethe.descent.second_order import Weights, gauss_newton, single_gradients, summed_gradient
from lethe.errors import InputError
from lethe.methods.influence import influence
from lethe.models.classifier import Classifier
from lethe.models.nets import MLP
from lethe.request import Request


def rows(count: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {"id": f"x{i}", "features": rng.normal(size=5).astype(np.float32), "label": int(rng.integers(3))}
        for i in range(count)
    ]


def test_the_product_is_the_gauss_newton_matrix_and_of_a_linear_model_the_hessian():
    torch.manual_seed(0)
    for module in (nn.Linear(5, 3).double(), MLP(5, 3, width=4, depth=1).double()):
        model = Classifier(module.eval())
        records = [{**r, "features": r["features"].astype(np.float64)} for r in rows(7)]
        examples = model.encode(records)
        weights = Weights(dict(module.named_parameters()))
        x = torch.stack([torch.tensor(r["features"]) for r in records]).float().double()
        for example, one in zip(examples, x, strict=True):
            example.inputs["x"] = one  # pyright: ignore[reportIndexIssue]
        flat = weights.flat(weights.tensors)

        def logits(vector: torch.Tensor, module: nn.Module = module, x: torch.Tensor = x) -> torch.Tensor:
            shapes = dict(module.named_parameters())
            pieces = vector.split([p.numel() for p in shapes.values()])
            named = {name: piece.view_as(p) for (name, p), piece in zip(shapes.items(), pieces, strict=True)}
            return torch.func.functional_call(module, named, (x,))

        jacobian = torch.autograd.functional.jacobian(logits, flat)
        p = logits(flat).softmax(-1).detach()
        inner = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        matrix = torch.einsum("nap,nab,nbq->pq", jacobian, inner, jacobian) / 7
        v = torch.randn(len(flat), dtype=torch.float64)
        found = gauss_newton(model, examples, weights, 0.5)(v)
        assert torch.allclose(found, matrix @ v + 0.5 * v, atol=1e-10)
        together = sum(single_gradients(model, examples, weights))
        assert torch.allclose(summed_gradient(model, examples, weights), torch.as_tensor(together), atol=1e-10)


def test_a_linear_model_at_its_optimum_ends_near_the_retrained_one():
    records = rows(120)
    request = Request(records[:10], records[10:], allow_overlap=True)

    def trained(part: list[dict]) -> Classifier:
        torch.manual_seed(0)
        model = Classifier(nn.Linear(5, 3).eval())
        examples = model.encode(part)
        batch = model.collate(examples, range(len(examples)))
        optimizer = torch.optim.LBFGS(model.module.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model.loss(batch).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        return model

    start, goal = trained(records), trained(records[10:])
    x = torch.tensor(np.stack([r["features"] for r in records]))

    def apart(one: Classifier) -> float:
        """Of log-probabilities: a constant added to all logits is no difference."""
        return float((one.module(x).log_softmax(-1) - goal.module(x).log_softmax(-1)).detach().norm())

    exact = influence(start, request, damping=1e-6, iterations=50)
    assert apart(exact) < 0.15 * apart(start)
    assert apart(influence(start, request, damping=1e-6, alpha=0.5)) > 2 * apart(exact)
    # The released recursion leaves v as good as it is, which is no step of the right length in any direction.
    assert apart(influence(start, request, solver="woodfisher")) > 3 * apart(exact)


@pytest.mark.parametrize("solver", ["cg", "fisher", "woodfisher"])
def test_only_the_named_layers_move_and_alpha_0_moves_nothing(solver: str):
    world = classifier()
    options = {"solver": solver, "records": 20}
    made = influence(world.target, world.request, layers="^head", **options)
    before, after = world.target.module.state_dict(), made.module.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.weight", "head.bias"}
    assert influence(world.target, world.request, alpha=0.0, **options).fingerprint() == world.target.fingerprint()


def test_bad_options_are_refused():
    world = classifier()
    for options, message in (({"damping": 0.0}, "damping=0"), ({"iterations": 0}, "iterations=0"),
                             ({"layers": "haed"}, "did you mean 'head'")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            influence(world.target, world.request, **options)
