"""Value vectors in the evidence: kept once, compared with the model before, and what counts as removed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models import tiny

from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models.language import LanguageModel
from lethe.models.projections import output_projections
from lethe.traces import Traces, output_embedding, remember

PROBES = {"forget": tiny.QUESTIONS[:4], "retain": tiny.QUESTIONS[4:6]}
PLACES = [(0, 3), (1, 5)]
VARIANTS = ("jaccard", "jaccard.original", "cosine", "l2", "l2.relative", "retention", "residual", "activation")


@pytest.fixture
def before() -> LanguageModel:
    """A tiny model whose vectors have the length of trained ones; its embeddings are not tied."""
    model = tiny.language()
    with torch.no_grad():
        for projection in output_projections(model):
            projection.matrix.mul_(20)
    return model


@pytest.fixture
def spec(before: LanguageModel, tmp_path: Path) -> Spec:
    first = (output_embedding(before) @ output_projections(before)[0].matrix[:, 3]).argsort(descending=True)
    own = first[:4].tolist()
    weights = np.zeros(len(output_embedding(before)))
    weights[own] = 1.0
    prompts = [before.prompt_of(record) for record in PROBES["forget"]]
    file = remember(before, PLACES, prompts, own, weights, tmp_path)
    return Spec(generate=(), distributions=(), traces=Traces(str(file)))


def scores(evidence: Evidence) -> dict[str, float]:
    return {name: compute(f"concept_trace:variant={name}", evidence).value for name in (*VARIANTS, "suppression")}


def column(model: LanguageModel, layer: int, dim: int) -> torch.Tensor:
    return output_projections(model)[layer].matrix[:, dim]


def edited(model: LanguageModel, change: Callable[[LanguageModel], object]) -> LanguageModel:
    twin = model.copy()
    with torch.no_grad():
        change(twin)
    return twin


def test_the_model_before_has_lost_nothing(before: LanguageModel, spec: Spec, tmp_path: Path):
    seen = observe(before, PROBES, spec, cache=tmp_path / "evidence")
    kept = {"jaccard", "jaccard.original", "cosine", "retention", "residual", "activation"}
    assert scores(seen) == pytest.approx({name: float(name in kept) for name in (*VARIANTS, "suppression")}, abs=1e-6)
    again = observe(before, PROBES, spec, cache=tmp_path / "evidence")
    assert again.traces.keys() == seen.traces.keys()
    assert all(np.array_equal(again.traces[name], seen.traces[name]) for name in seen.traces)
    assert seen.traces["coefficients"].shape == (2, 4)


def test_a_zeroed_vector_is_gone_and_said_to_be(before: LanguageModel, spec: Spec):
    after = edited(before, lambda model: [column(model, *place).zero_() for place in PLACES])
    found = scores(observe(after, PROBES, spec))
    assert (found["jaccard"], found["cosine"], found["retention"], found["l2.relative"]) == (0, 0, 0, pytest.approx(1))
    assert compute("concept_trace", observe(after, PROBES, spec)).detail["erased"] == [0, 1]


def test_twice_the_vector_is_far_away_and_says_the_same(before: LanguageModel, spec: Spec):
    after = edited(before, lambda model: [column(model, *place).mul_(2) for place in PLACES])
    found = scores(observe(after, PROBES, spec))
    assert (found["jaccard"], found["cosine"], found["l2.relative"]) == (1, pytest.approx(1), pytest.approx(1))


def silence(model: LanguageModel) -> None:
    """What calls the vectors is cut; the vectors stay as they are."""
    for layer, dim in PLACES:
        model.blocks()[layer].get_submodule("mlp.up_proj").weight[dim].zero_()  # pyright: ignore


def test_suppression_is_told_from_removal(before: LanguageModel, spec: Spec):
    """Behaviour-only editing leaves v and takes k; Needle's way takes v and leaves k; both cannot be one number."""
    silenced = scores(observe(edited(before, silence), PROBES, spec))
    assert (silenced["jaccard"], silenced["activation"], silenced["suppression"]) == (1, 0, 1)
    noise = torch.Generator().manual_seed(0)

    def needle(model: LanguageModel) -> None:
        for place in PLACES:
            vector = column(model, *place)
            vector.copy_(20 * torch.randn(vector.shape, generator=noise))

    removed = scores(observe(edited(before, needle), PROBES, spec))
    assert removed["jaccard"] < 0.5
    assert removed["suppression"] < 0.3


def test_hidden_units_in_another_order_change_nothing_if_their_places_are_followed(
    before: LanguageModel, spec: Spec, tmp_path: Path
):
    order = torch.randperm(output_projections(before)[1].matrix.shape[1], generator=torch.Generator().manual_seed(1))

    def permute(model: LanguageModel) -> None:
        for block in model.blocks():
            for name, dim in (("up_proj", 0), ("gate_proj", 0), ("down_proj", 1)):
                weight = block.get_submodule(f"mlp.{name}").weight
                weight.copy_(weight.index_select(dim, order))  # pyright: ignore[reportCallIssue]

    after = edited(before, permute)
    places = [(layer, int((order == dim).nonzero()[0, 0])) for layer, dim in PLACES]
    kept = np.zeros(len(output_embedding(before)))
    prompts = [after.prompt_of(record) for record in PROBES["forget"]]
    moved = remember(after, places, prompts, [1], kept + 1, tmp_path)
    same = observe(after, PROBES, replace(spec, traces=Traces(str(moved)))).traces
    first = observe(before, PROBES, spec).traces
    for name in ("before", "top_before", "coefficients"):
        np.testing.assert_allclose(same[name], first[name], rtol=1e-4, atol=1e-5)


def test_an_embedding_that_moves_is_told_from_a_vector_that_moves(before: LanguageModel, spec: Spec):
    def turn(model: LanguageModel) -> None:
        embedding = model.module.get_output_embeddings().weight  # pyright: ignore
        embedding.copy_(embedding[torch.randperm(len(embedding), generator=torch.Generator().manual_seed(2))])

    found = scores(observe(edited(before, turn), PROBES, spec))
    assert found["jaccard.original"] == 1
    assert found["jaccard"] < 0.5
    assert found["l2"] == 0


def test_a_copy_of_the_vector_elsewhere_is_found(before: LanguageModel, spec: Spec):
    """A low Jaccard on one vector is not enough: what was moved to another still shows as residual."""

    def move(model: LanguageModel) -> None:
        column(model, 1, 9).copy_(column(model, 0, 3))
        column(model, 0, 3).zero_()

    seen = observe(edited(before, move), PROBES, spec)
    assert compute("concept_trace", seen).items[0] == 0
    residual = compute("concept_trace:variant=residual", seen)
    assert residual.value == pytest.approx(1)
    assert residual.detail["place"] == [1, 9]


def test_a_trace_without_own_tokens_has_no_retention(before: LanguageModel, tmp_path: Path):
    weights = np.zeros(len(output_embedding(before)))
    file = remember(before, PLACES, ["a"], [], weights, tmp_path)
    seen = observe(before, PROBES, Spec(generate=(), distributions=(), traces=Traces(str(file))))
    found = compute("concept_trace:variant=retention", seen)
    assert np.isnan(found.value)
    assert found.detail["undefined"] == [0, 1]


def test_mistakes(before: LanguageModel, spec: Spec, tmp_path: Path):
    assert spec.traces is not None
    with pytest.raises(InputError, match="none of the sets forget, retain"):
        observe(before, PROBES, replace(spec, traces=replace(spec.traces, questions="qa")))
    with pytest.raises(InputError, match="holds no value vectors"):
        observe(before, PROBES, replace(spec, traces=Traces(str(tmp_path / "none"))))
    with pytest.raises(InputError, match="layer 0 has no dimension 999"):
        remember(before, [(0, 999)], ["a"], [], np.zeros(5), tmp_path)
    with pytest.raises(InputError, match="at least one value vector"):
        remember(before, [], ["a"], [], np.zeros(5), tmp_path)
    with pytest.raises(InputError, match="language model's"):
        observe(tiny.classifier(), {"forget": tiny.FAMILIES["classifier"][1]()[:2]}, spec)
    with pytest.raises(InputError, match="has none observed"):
        compute("concept_trace", observe(before, PROBES, replace(spec, traces=None)))
