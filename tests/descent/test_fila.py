"""FILA: the forget set's directions become the adapter, the rest stays; the model starts as it was."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import tiny
from torch import Tensor
from transformers import AutoModelForCausalLM

from lethe.descent import where
from lethe.descent.fila import empirical_fisher, factors, relative, row_weights
from lethe.errors import InputError
from lethe.models.base import Model, per_example
from lethe.registry import find
from lethe.request import Request
from lethe.worlds import facts
from lethe.worlds.models import facts_model

W = torch.tensor([[2.0, 0, 1], [0, 1, 0], [1, 1, 3]], dtype=torch.float64)
FORGET = torch.diag(torch.tensor([4.0, 1, 9], dtype=torch.float64))
RETAIN = torch.ones(3, 3, dtype=torch.float64).index_put((torch.tensor(2), torch.tensor(2)), torch.tensor(3.0).double())


def rows(scale: float = 1.0) -> Tensor:
    return row_weights(relative({"w": scale * FORGET}, {"w": RETAIN})["w"])


def product(weight: Tensor, weights: Tensor, rank: int, scaling: float = 2.0) -> Tensor:
    a, b = factors(weight, weights, rank, scaling)
    return scaling * b @ a


def logits(model: Model) -> Tensor:
    examples = model.encode(tiny.QUESTIONS)
    with model.evaluating():
        return model.logits(model.collate(examples, range(len(examples))))


def close(found: Tensor, expected: Any, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=0, atol=atol)


def test_the_papers_steps_on_a_matrix_of_three_rows():
    """Every figure to half a unit of its last printed digit; exact decomposition."""
    importance = relative({"w": FORGET}, {"w": RETAIN})["w"]
    close(importance, torch.diag(torch.tensor([3.99996, 0.99999, 2.99999])), 5e-6)
    close(rows(), [1.99999, 0.999995, 1.732048])
    close(torch.linalg.svdvals(rows()[:, None] * W), [6.711617, 2.852236, 0.904780])
    adapter = product(W, rows(), 1)
    close(adapter, [[1.051071, 0.413907, 1.537331], [0.119535, 0.047072, 0.174835], [1.755013, 0.691115, 2.566939]])
    residue = W - adapter
    close(
        residue, [[0.948929, -0.413907, -0.537331], [-0.119535, 0.952928, -0.174835], [-0.755013, 0.308885, 0.433061]]
    )
    left = float((rows()[:, None] * residue).norm())
    assert left == pytest.approx(2.992303, abs=1e-6)  # the best that rank 1 can do
    assert left == pytest.approx((2.852236**2 + 0.904780**2) ** 0.5, abs=1e-6)
    u, s, v = torch.linalg.svd(W)
    unweighted = float((rows()[:, None] * (W - s[0] * u[:, :1] @ v[:1])).norm())
    assert unweighted == pytest.approx(3.022282, abs=1e-6)


def test_only_the_proportions_of_the_importance_matter():
    close(rows(9.0), 3 * rows())
    close(product(W, rows(9.0), 1), product(W, rows(), 1), 1e-5)
    plain = torch.linalg.svd(W)
    truncated = plain.U[:, :2] * plain.S[:2] @ plain.Vh[:2]
    close(product(W, torch.full((3,), 0.7), 2), truncated, 1e-4)  # 0.7 / (0.7 + 1e-5)
    assert (product(W, rows(), 2) - truncated).abs().max() > 0.01


@pytest.mark.parametrize("svd", ["exact", "randomised"])
def test_rows_that_the_forget_set_never_touched_stay_where_they_are(svd: Any):
    """Dividing by their weight, as the paper writes it, would blow rounding errors up by 1e5."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 20, generator=generator)
    weights = torch.rand(12, generator=generator)
    weights[3], weights[7] = 0.0, 1e-12
    torch.manual_seed(0)
    a, b = factors(weight, weights, 4, 2.0, svd)
    assert a.shape == (4, 20) and b.shape == (12, 4)
    assert not b[3].any() and b[7].abs().max() < 1e-6
    assert b.abs().max() < 10
    a, b = factors(weight, torch.zeros(12), 4, 2.0, svd)
    assert len(a) == 0 and b.shape == (12, 0)


def test_the_randomised_decomposition_finds_the_same_product():
    generator = torch.Generator().manual_seed(0)
    steep = torch.linalg.qr(torch.randn(20, 20, generator=generator)).Q * torch.logspace(1, -3, 20)
    weights = torch.rand(20, generator=generator) + 0.5
    exact = product(steep, weights, 3)
    torch.manual_seed(0)
    a, b = factors(steep, weights, 3, 2.0, "randomised")
    assert float((2 * b @ a - exact).norm() / exact.norm()) < 0.05


def test_the_fisher_of_single_records_is_their_squared_gradients():
    model, records = tiny.language(), tiny.QUESTIONS[:4]
    weights = {"w": model.module.get_parameter("model.layers.1.mlp.up_proj.weight")}

    def gradient(part: list[Any]) -> tuple[Tensor, int]:
        batch = model.collate(model.encode(part), range(len(part)))
        count = int(model.sizes(batch).sum())
        return torch.autograd.grad(model.loss(batch).sum() / count, weights["w"])[0], count

    for size, parts in ((1, [[r] for r in records]), (2, [records[:2], records[2:]])):
        found = [gradient(part) for part in parts]
        expected = sum(g.square() * n for g, n in found) / sum(n for _, n in found)
        torch.testing.assert_close(empirical_fisher(model, weights, records, size)["w"], expected)
    assert all(p.requires_grad and p.grad is None for p in model.module.parameters())


@pytest.mark.parametrize("options", [{}, {"fisher": "example"}, {"svd": "randomised"}, {"rank": 3, "alpha": 600.0}])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_before_the_first_step_nothing_has_changed(architecture: str, options: Any):
    model, request = tiny.language(architecture), tiny.request("language")
    before = logits(model)
    selection = where.fila(model, request, **options)
    assert all("lora_" in name for name in selection.parameters)
    assert any(p.any() for name, p in selection.parameters.items() if "lora_B" in name)
    assert float((logits(model) - before).abs().max() / before.abs().max()) < 1e-5
    selection.finish()
    assert float((logits(model) - before).abs().max() / before.abs().max()) < 1e-5
    assert type(model.module) is type(tiny.causal(architecture))


def test_convolutions_are_matrices_with_long_rows():
    model = tiny.image_classifier()
    records = tiny.images()
    request = tiny.request("classifier")
    request = replace(request, forget=records[:4], retain=records[4:])
    batch = model.collate(model.encode(records), range(len(records)))
    with model.evaluating():
        before = model.logits(batch)
    selection = where.fila(model, request, rank=2)
    with model.evaluating():
        torch.testing.assert_close(model.logits(batch), before, rtol=1e-4, atol=1e-5)
    assert any(p.dim() == 4 and p.any() for name, p in selection.parameters.items() if "lora_B" in name)


def test_targets_are_named_and_never_share_their_weight():
    request = tiny.request("language")
    selection = where.fila(tiny.language(), request, targets=("self_attn.q_proj", "up_proj"))
    assert len(selection.parameters) == 2 * 2 * 2  # two blocks, two layers, two factors
    names = {name for name in where.fila(tiny.language("qwen2"), request).parameters if "lm_head" in name}
    assert not names
    with pytest.raises(InputError, match="lm_head shares its weight with another layer"):
        where.fila(tiny.language("qwen2"), request, targets=("lm_head",))
    with pytest.raises(InputError, match=r"^where=fila: .* is called 'up_porj', did you mean 'up_proj'\?$"):
        where.fila(tiny.language(), request, targets=("up_porj",))
    with pytest.raises(InputError, match=r"is called 'attn.c_atn', did you mean 'attn.c_attn'\?$"):
        where.fila(tiny.language("gpt2"), request, targets=("attn.c_atn",))
    with pytest.raises(InputError, match="where=fila: rank is 0"):
        where.fila(tiny.language(), request, rank=0)
    with pytest.raises(InputError, match="retain set, which is empty"):
        where.fila(tiny.language(), replace(request, retain=()))
    with pytest.raises(InputError, match="LightGCN has no linear or convolution layer"):
        where.fila(tiny.recommender(), tiny.request("recommender"))


def test_a_rank_that_a_matrix_cannot_have_is_refused_with_the_largest():
    """Half the adapter would start on nothing."""
    request = tiny.request("language")
    told = r"rank is 9, but \S+\.0\.self_attn\.k_proj is a matrix of 8 x 16, whose rank is at most 8; give a rank"
    with pytest.raises(InputError, match=f"^where=fila: {told}"):
        where.fila(tiny.language(), request, rank=9)
    assert where.fila(tiny.language(), request, rank=16, targets=("up_proj",)).parameters
    with pytest.raises(InputError, match=r"rank is 17, but transformer\.h\.0\.attn\.c_attn is a matrix of 48 x 16"):
        where.fila(tiny.language("gpt2"), request, rank=17)
    with pytest.raises(InputError, match=r"rank is 5, but \S+ is a matrix of 4 x 9, whose rank is at most 4"):
        where.fila(tiny.image_classifier(), tiny.request("classifier"), rank=5)


def test_transposed_layers_start_on_the_same_directions(tmp_path: Path):
    """GPT-2 keeps W'; what a linear layer with W would be split into, its Conv1D is split into as well."""
    model, request = tiny.language("gpt2"), tiny.request("language")
    name = "transformer.h.1.mlp.c_fc"
    matrix = model.module.get_parameter(f"{name}.weight").detach().clone().T  # (d_out, d_in)
    weights = {"w": model.module.get_parameter(f"{name}.weight")}
    fishers = [empirical_fisher(model, weights, records, 1)["w"] for records in (request.forget, request.retain[:4])]
    draw = replace(request, retain=request.retain[:4])
    importance = row_weights(relative({"w": fishers[0]}, {"w": fishers[1]})["w"].T)
    selection = where.fila(model, draw, rank=2, alpha=4.0, fisher="example")
    layer: Any = model.module.get_submodule(f"base_model.model.{name}")
    found = 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    close(found.double(), product(matrix, importance, 2), 1e-5)
    assert matrix.shape == (32, 16) and found.norm() > 0.1

    with torch.no_grad():  # what training would do
        for parameter in selection.parameters.values():
            parameter.mul_(1.5)
    trained = logits(model)
    selection.finish()
    torch.testing.assert_close(logits(model), trained, rtol=1e-4, atol=1e-4)
    loaded: Any = AutoModelForCausalLM.from_pretrained(model.save(tmp_path / "merged")).eval()
    batch = model.collate(model.encode(tiny.QUESTIONS), range(len(tiny.QUESTIONS)))
    with torch.no_grad():
        assert torch.equal(loaded(**batch.inputs, use_cache=False).logits[:, :-1], logits_of(model, batch))
    assert {type(m).__name__ for m in loaded.modules()} == {type(m).__name__ for m in tiny.causal("gpt2").modules()}


class Stop(Exception):
    """Ends a run early."""


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(tmp_path: Path):
    """The split weights and the drawn factors are no part of the checkpoint: they are made again, bit by bit."""

    def go(folder: Path, stop_after: int = -1) -> Model:
        looks: list[Model] = []

        def look(model: Model) -> float:
            looks.append(model)
            if len(looks) == stop_after:
                raise Stop
            return 0.0

        return find("method", "npo").function(
            tiny.language(), tiny.request("language"), where="fila:rank=2,svd=randomised", step="sam:rho=0.01",
            epochs=4, batch_size=2, checkpoint_every=2, folder=folder, evaluate=look, evaluate_every=1,
        )  # fmt: skip

    whole = go(tmp_path / "whole")
    with pytest.raises(Stop):
        go(tmp_path / "run", stop_after=3)
    torch.manual_seed(5)
    assert go(tmp_path / "run").fingerprint() == whole.fingerprint() != tiny.language().fingerprint()


@pytest.mark.parametrize("place", ["lora:rank=2", "fila:rank=2", "expert"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ga", {}),
        ("grad_diff", {}),
        ("npo", {"retain": "kl"}),
        ("simnpo", {}),
        ("ihl", {}),
        ("rmu", {}),
        ("kl_min", {}),
    ],
)
def test_what_is_saved_is_an_ordinary_model(place: str, name: str, options: Any, tmp_path: Path):
    given, request = tiny.language("mixtral"), tiny.request("language")
    before = given.fingerprint()
    made = find("method", name).function(given, request, where=place, epochs=1, batch_size=2, lr=1e-2, **options)
    assert made.fingerprint() != given.fingerprint() == before
    assert made.module.state_dict().keys() == given.module.state_dict().keys()
    folder = made.save(tmp_path / "made")
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    batch = made.collate(made.encode(tiny.QUESTIONS[:3]), range(3))
    with torch.no_grad():
        assert torch.equal(loaded(**batch.inputs, use_cache=False).logits[:, :-1], logits_of(made, batch))


def logits_of(model: Model, batch: Any) -> Tensor:
    with model.evaluating():
        return model.logits(batch)


def test_it_forgets_in_fewer_steps_than_plain_adapters():
    """The short form of the headline `fila_steps`: 12 steps on a hundred facts."""
    target, forget, retain = facts_model("full"), facts.records("forget"), facts.records("retain")
    asked = target.encode(forget)

    def known(place: str) -> float:
        """Probability of the forgotten answers' tokens, geometric mean."""
        made = find("method", "ihl").function(
            target, Request(forget, retain), where=f"{place}:targets=up_proj,down_proj", steps=12, batch_size=90
        )
        return math.exp(-float(per_example(made, asked).sum()) / sum(example.size for example in asked))

    assert known("fila") < 0.5 * known("lora")
