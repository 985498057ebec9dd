"""Objectives, retain terms, places and step rules compose; what does not is refused with the reason."""

import gc
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import tiny
from torch import Tensor, nn

from lethe import registry
from lethe.errors import InputError
from lethe.models.base import Batch, Model
from lethe.models.language import LanguageModel
from lethe.request import Request

METHODS = {
    "language": ["ga", "grad_diff", "kl_min", "npo", "simnpo", "idk", "dpo", "rmu", "neggrad_plus", "finetune"],
    "classifier": ["grad_diff", "npo", "kl_min", "scrub", "salun", "random_labels", "neggrad_plus", "finetune"],
    "recommender": ["grad_diff", "npo", "kl_min", "reverse_bpr", "neggrad_plus", "finetune"],
}
LAYERS = {"language": r"layers\.0", "classifier": "hidden", "recommender": "item"}
PLACES = ["all", "lora:rank=2", "saliency:keep=0.4", "layers"]
STEPS = ["plain", "sam:rho=0.05"]
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 4, "lr": 1e-2}


def method(name: str) -> Any:
    return registry.find("method", name).function


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.module.named_parameters()}


def combinations() -> list[tuple[str, str, str, str]]:
    return [
        (family, name, place, step)
        for family, names in METHODS.items()
        for name, place, step in itertools.product(names, PLACES, STEPS)
        if not (name == "finetune" and step != "plain")
    ]


@pytest.mark.parametrize(("family", "name", "place", "step"), combinations())
def test_every_objective_composes_with_every_place_and_step(family: str, name: str, place: str, step: str):
    model, request = tiny.model(family), tiny.request(family)
    before, print_before = weights(model), model.fingerprint()
    options: dict[str, Any] = {"layer": 0} if name == "rmu" else {}
    chosen = f"layers:match={LAYERS[family]}" if place == "layers" else place
    unlearned = method(name)(model, request, where=chosen, step=step, **QUICK, **options)
    assert model.fingerprint() == print_before
    assert unlearned.module is not model.module
    assert type(unlearned.module) is type(model.module)
    after = weights(unlearned)
    assert all(bool(tensor.isfinite().all()) for tensor in after.values())
    moved = {key: (after[key] != before[key]) for key in before}
    share = sum(int(m.sum()) for m in moved.values()) / sum(m.numel() for m in moved.values())
    assert share > 0
    if place.startswith("saliency"):
        assert share <= 0.4
    if place == "layers":
        assert all(re.search(LAYERS[family], key) for key, m in moved.items() if m.any())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_step_rule_and_the_place_matter(family: str):
    model, request = tiny.model(family), tiny.request(family)
    settings = [
        {},
        {"step": "sam:rho=0.5"},
        {"where": "lora:rank=2"},
        {"where": "saliency:keep=0.4"},
        {"retain": "none"},
    ]
    prints = [method("npo")(model, request, **QUICK, **options).fingerprint() for options in settings]
    assert len(set(prints)) == len(settings)
    assert method("npo")(model, request, **QUICK).fingerprint() == prints[0]


def test_the_seed_is_the_requests_unless_another_is_given():
    model = tiny.classifier()
    zero, one = tiny.request("classifier", seed=0), tiny.request("classifier", seed=1)
    prints = {
        key: method("salun")(model, request, **QUICK, **options).fingerprint()
        for key, request, options in [("0", zero, {}), ("1", one, {}), ("0 as 1", zero, {"seed": 1})]
    }
    assert prints["1"] == prints["0 as 1"] != prints["0"]


@pytest.mark.parametrize(
    ("family", "name", "options", "message"),
    [
        ("classifier", "finetune", {"step": "sam:rho=0.1"}, "step=sam acts on the forget term, and finetune has none"),
        ("classifier", "retrain", {"where": "lora"}, "retrain draws every weight anew"),
        ("classifier", "npo", {"where": "lore"}, "where=lore does not exist, did you mean 'lora'"),
        ("classifier", "npo", {"where": "lora:ranks=2"}, "where=lora has no option 'ranks', did you mean 'rank'"),
        ("classifier", "npo", {"where": "layers:match=nothing"}, "no tensor matches 'nothing'"),
        ("classifier", "npo", {"step": "sum"}, "step=sum does not exist, did you mean 'sam'"),
        ("classifier", "npo", {"step": "sam:rho=wide"}, "'rho' of step=sam must be float"),
        ("classifier", "npo", {"retain": "nil"}, "option 'retain' of npo is 'nil', did you mean 'nll'"),
        ("classifier", "npo", {"betta": 1}, "npo has no option 'betta', did you mean 'beta'"),
        ("classifier", "scrub", {"retain": "nll"}, "scrub has no option 'retain'"),
        ("classifier", "npo", {"evaluate_every": 2}, "no function to evaluate"),
        ("classifier", "npo", {"optimizer": "adam"}, "did you mean 'adamw'"),
        ("language", "rmu", {"layer": 0, "where": r"layers:match=layers\.1"}, "depends on no weight that may move"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_reason(family: str, name: str, options: dict[str, Any], message: str):
    model = tiny.model(family)
    before = model.fingerprint()
    with pytest.raises(InputError, match=message):
        method(name)(model, tiny.request(family), **options)
    assert model.fingerprint() == before


@pytest.mark.parametrize("name", ["npo", "kl_min"])
def test_a_retain_term_needs_retain_records(name: str):
    request = Request(tiny.features(3), [])
    with pytest.raises(InputError, match="needs retain records"):
        method(name)(tiny.classifier(), request)


def test_a_folder_of_another_setting_is_refused(tmp_path: Path):
    model, request = tiny.classifier(), tiny.request("classifier")
    kept: dict[str, Any] = {**QUICK, "folder": tmp_path, "checkpoint_every": 1}
    first = method("npo")(model, request, beta=0.1, **kept)
    assert method("npo")(model, request, beta=0.1, **kept).fingerprint() == first.fingerprint()
    for options in ({"beta": 0.5}, {"beta": 0.1, "step": "sam"}, {"beta": 0.1, "retain_weight": 2.0}):
        with pytest.raises(InputError, match="belongs to a run with other data, weights or settings"):
            method("npo")(model, request, **options, **kept)


def test_the_best_step_by_a_function_of_the_model():
    """Gradient ascent runs away: what is kept is the evaluated step with the lowest retain loss."""
    model, request = tiny.classifier(), tiny.request("classifier")
    examples, seen = model.encode(request.retain), []

    def evaluate(candidate: Model) -> float:
        batch = candidate.collate(examples, range(len(examples)))
        seen.append((float(candidate.loss(batch).mean()), candidate.fingerprint()))
        return seen[-1][0]

    options: dict[str, Any] = {"epochs": 8, "lr": 0.05, "evaluate": evaluate, "evaluate_every": 1}
    kept = method("ga")(model, request, keep="best", **options)
    assert len(seen) == 8
    assert kept.fingerprint() == min(seen)[1] != seen[-1][1]


def alive(kind: type[nn.Module]) -> int:
    return sum(issubclass(type(thing), kind) for thing in gc.get_objects())


@pytest.mark.parametrize(("name", "options", "copies"), [
    ("grad_diff", {}, 1), ("npo", {}, 1), ("dpo", {}, 1), ("simnpo", {}, 1), ("npo", {"where": "lora:rank=2"}, 1),
    ("grad_diff", {"retain": "kl"}, 2), ("rmu", {}, 2),
])  # fmt: skip
def test_preference_objectives_hold_one_model(
    name: str, options: dict[str, Any], copies: int, monkeypatch: pytest.MonkeyPatch
):
    """Beside the caller's: the one that is trained. Objectives with a frozen reference model count two."""
    model, request = tiny.language(), tiny.request("language")
    kind, seen, hidden, loss = type(model.module), set(), LanguageModel.hidden, LanguageModel.loss

    def look(function: Any) -> Any:
        def looking(self: LanguageModel, batch: Batch, *arguments: Any) -> Any:
            if torch.is_grad_enabled():
                seen.add(alive(kind) - start)
            return function(self, batch, *arguments)

        return looking

    monkeypatch.setattr(LanguageModel, "loss", look(loss))
    monkeypatch.setattr(LanguageModel, "hidden", look(hidden))
    gc.collect()
    start = alive(kind)
    method(name)(model, request, epochs=1, batch_size=4, **options)
    assert seen == {copies}
