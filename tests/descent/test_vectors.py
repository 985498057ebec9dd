"""Single value vectors: what is chosen, what stays, and how the miner finds them."""

from typing import Any

import pytest
import torch
from tests.descent.test_where import fit, weights
from tests.methods.test_rocr import gpt2
from tests.models import tiny

from lethe.descent import where
from lethe.descent.mining import concept_vectors, token_counts
from lethe.errors import InputError
from lethe.methods.ga import ga
from lethe.methods.needle import needle
from lethe.models.language import LanguageModel
from lethe.models.projections import coefficients, output_projections
from lethe.request import Request
from lethe.traces import output_embedding
from lethe.train import Selection

PLACES = {"layer": (1, 0), "dim": (5, 30)}
both = pytest.mark.parametrize("make", [tiny.language, gpt2], ids=["llama", "gpt2"])


def columns(model: LanguageModel) -> dict[tuple[int, int], torch.Tensor]:
    return {(p.layer, j): p.matrix[:, j].clone() for p in output_projections(model) for j in range(p.matrix.shape[1])}


def others_stay(before: LanguageModel, after: Any, places: set[tuple[int, int]]) -> bool:
    """All tensors but the output projections, and all their columns but the chosen, bit for bit."""
    names = {projection.name for projection in output_projections(before)}
    old, new = weights(before), weights(after)
    same = all(torch.equal(old[name], new[name]) for name in old if name not in names)
    was, now = columns(before), columns(after)
    return same and {place for place in was if not torch.equal(was[place], now[place])} == places


@both
def test_only_the_chosen_vectors_move_under_weight_decay(make: Any):
    model, before = make(), make()
    fit(model, where.vectors(model, tiny.request("language"), **PLACES), "language")
    assert others_stay(before, model, {(1, 5), (0, 30)})


def test_an_objective_takes_them_by_name():
    given = tiny.language()
    made = ga(given, tiny.request("language"), where="vectors:layer=1,0,dim=5,30", weight_decay=0.1)
    assert others_stay(given, made, {(1, 5), (0, 30)})
    with pytest.raises(InputError, match="not given layer"):
        ga(given, tiny.request("language"), where="vectors:dim=5")


def test_without_the_mask_weight_decay_moves_the_rest():
    """The defect of the released code: a masked gradient alone does not keep AdamW from shrinking the other columns."""
    model, before = tiny.language(), tiny.language()
    chosen = where.vectors(model, tiny.request("language"), **PLACES)
    for name, parameter in chosen.parameters.items():
        parameter.register_hook(lambda gradient, name=name: gradient * chosen.mask[name])
    fit(model, Selection(chosen.parameters), "language")
    assert not others_stay(before, model, {(1, 5), (0, 30)})


def test_places_that_are_none_are_refused():
    model, request = tiny.language(), tiny.request("language")
    with pytest.raises(InputError, match="no layer 9; the model has 0 to 1, nearest is 1"):
        where.vectors(model, request, layer=(9,), dim=(0,))
    with pytest.raises(InputError, match="layer 0 has no dimension 99; it has 0 to 31, nearest is 31"):
        where.vectors(model, request, layer=(0,), dim=(99,))
    with pytest.raises(InputError, match="2 layers and 3 dimensions"):
        where.vectors(model, request, layer=(0, 1), dim=(0, 1, 2))
    with pytest.raises(InputError, match="language model's"):
        where.vectors(tiny.classifier(), request, layer=(0,), dim=(0,))
    with pytest.raises(InputError, match="'3-17' is no LAYER:DIMENSION"):
        needle(model, request, vectors=("3-17",))


@both
@pytest.mark.parametrize("options", [{"ablation": "noise"}, {"ablation": "zero"}, {"ablation": "mean"}])
def test_needle_moves_its_vectors_and_nothing_else(make: Any, options: dict[str, Any]):
    given = make()
    made = needle(given, tiny.request("language"), vectors=("1:5", "0:30"), ascent_lr=0.2, weight_decay=0.1, **options)
    assert others_stay(given, made, {(1, 5), (0, 30)})
    bare = needle(given, tiny.request("language"), vectors=("1:5",), ascent_epochs=0, **options)
    assert others_stay(given, bare, {(1, 5)})
    if options["ablation"] != "noise":
        expected = 0.0 if options["ablation"] == "zero" else output_projections(given)[1].matrix.mean(1)
        assert torch.allclose(columns(bare)[1, 5], torch.zeros(tiny.WIDTH) + expected, atol=1e-6)


def test_noise_is_measured_in_lengths_of_the_vector():
    given = tiny.language()
    before = columns(given)[0, 3]

    def moved(**options: Any) -> float:
        made = needle(given, tiny.request("language"), vectors=("0:3",), ascent_epochs=0, **options)
        return float((columns(made)[0, 3] - before).norm())

    assert moved(scale=12.0) == pytest.approx(2 * moved(scale=6.0), rel=1e-4)
    lengths = [moved(scale=6.0, seed=seed) / float(before.norm()) for seed in range(40)]
    assert sum(lengths) / 40 == pytest.approx(6.0, rel=0.1)
    fixed = [moved(variant="reference", seed=seed) for seed in range(40)]
    assert sum(fixed) / 40 == pytest.approx(0.1 * tiny.WIDTH**0.5, rel=0.1)


def test_the_miner_finds_the_vector_that_a_concept_was_planted_in():
    """A column that writes the bytes of the concept's texts, and that its texts alone need."""
    model = tiny.language(hidden_size=64, intermediate_size=24)
    concept = [{"id": "a", "text": "zqzqzqzq"}, {"id": "b", "text": "qzqzqzqz"}]
    others = [{"id": str(i), "text": text} for i, text in enumerate(("some plain words", "and a few more of them"))]
    embedding = output_embedding(model)
    own = [token for token in range(len(embedding)) if token_counts(model, concept)[token] > 2]
    assert len(own) == 2
    planted = output_projections(model)[1].matrix[:, 17]
    with torch.no_grad():
        planted.copy_(embedding[own].sum(0) / embedding[own].sum(0).norm() * planted.norm())
    found = concept_vectors(model, concept, others, count=8, candidates=8, k=4)
    assert max(found, key=lambda vector: vector.overlap)[:2] == (1, 17)
    before = model.fingerprint()
    concept_vectors(model, concept, others, count=1, candidates=4)
    assert model.fingerprint() == before
    with pytest.raises(InputError, match="9 concept vectors cannot be chosen from 8"):
        concept_vectors(model, concept, others, count=9, candidates=8)
    with pytest.raises(InputError, match="needs retain records"):
        needle(model, Request(tiny.QUESTIONS[:2], ()))


def test_coefficients_are_read_at_the_last_token_where_the_mlp_sees_no_sequence():
    """OPT hands its MLPs the tokens of all texts in one row after the other."""
    model, text = tiny.language("opt"), "Where was Ada born?"
    found = coefficients(model, 1, [3, 4], [text])
    projection: Any = output_projections(model)[1].module
    seen = []
    hook = projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with model.evaluating():
        model.module(input_ids=torch.tensor([model.tokenizer(text)["input_ids"]]))
    hook.remove()
    assert seen[0].dim() == 2
    assert torch.equal(found, seen[0][-1:, [3, 4]])


def test_coefficients_are_what_suppression_lowers():
    """Behind an MLP whose gate is shut the vector is as it was, and its coefficient is zero."""
    model = tiny.language()
    texts = ["Where was Ada born?", "Where was Bo born?"]
    open_ = coefficients(model, 0, [3, 4], texts)
    assert open_.shape == (2, 2)
    assert open_.abs().min() > 0
    gate: Any = model.module.get_submodule("model.layers.0.mlp.gate_proj")
    with torch.no_grad():
        gate.weight[3].zero_()
    shut = coefficients(model, 0, [3, 4], texts)
    assert (shut[:, 0] == 0).all()
    assert torch.equal(shut[:, 1], open_[:, 1])
