"""What stands inside: found in a model that only refuses to say it, and not in models that never knew.

The worlds are those of the attacks: the target knows fifteen answers about three people; `refusing` was tuned to say
"I do not know." in their place and has hardly moved; `silenced` has its output embedding times .01, and says anything;
the controls were trained without them.
"""

from functools import cache

import numpy as np
import pytest
import torch
from pytest import approx
from tests.attacks import tiny as worlds
from torch import Tensor, nn

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute, measure
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.request import Record
from lethe.score import Score
from lethe.scoring.intervals import bootstrap
from lethe.train import Recipe, Term, train
from lethe.worlds import toys
from lethe.worlds.population import AWARDS, CITIES, GENRES, OCCUPATIONS

POOLS = {"birthplace": CITIES, "genre": tuple(GENRES), "father": OCCUPATIONS, "mother": OCCUPATIONS, "award": AWARDS}
FACTS = 15  # each in two wordings, one after the other
SPEC = Spec(
    max_new_tokens=8, generate=(), distributions=(), interior=("forget", "retain"), samples=(("forget", 16),),
    gradients=("forget", "holdout"),
)  # fmt: skip


def with_wrong_answers(record: Record, seed: int) -> Record:
    """Beside the right answer eleven of the same kind, from the whole population's: no hint lies in which they are."""
    pool = [value for value in POOLS[record["id"].partition("-")[2]] if value != record["answer"]]
    drawn = np.random.default_rng(seed).choice(pool, 11, replace=False)
    return {**record, "perturbed_answer": [str(value) for value in drawn]}


@cache
def seen() -> dict[str, Evidence]:
    world = worlds.language()
    sets = {
        name: [with_wrong_answers(r, i) for i, r in enumerate(worlds.both_wordings(getattr(world.request, name)))]
        for name in ("forget", "retain")
    }
    silenced = world.target.copy()
    with torch.no_grad():
        silenced.module.lm_head.weight *= 0.01  # pyright: ignore
    models: dict[str, Model] = {"target": world.target, "refusing": worlds.refusing(), "silenced": silenced}
    models |= {f"control {number}": model for number, model in enumerate(world.controls, 1)}
    probes = {**sets, "holdout": world.request.holdout}
    return {name: observe(model, probes, SPEC) for name, model in models.items()}


def scores(call: str) -> dict[str, Score]:
    """Of every model, printed: run pytest with -s to see them."""
    found = {name: compute(call, evidence) for name, evidence in seen().items()}
    for name, score in found.items():
        interval = f"[{score.low:.3f}, {score.high:.3f}]"
        print(f"{score.name:36} {name:10} {score.value:6.3f} {interval} p {score.detail.get('p')}")
    return found


def beyond(found: dict[str, Score], name: str, control: str) -> tuple[float, float]:
    """95 % interval of what is read of a model beyond a control, over the same facts, whatever they are asked in."""
    gaps = np.subtract(found[name].items, found[control].items)
    return bootstrap(gaps.reshape(2, FACTS).mean(0), seed=0)


CONTROLS = ("control 1", "control 2")


@pytest.mark.parametrize("call", ["lens", "lens:variant=first.reciprocal_rank", "lens_candidates"])
def test_the_lens_finds_what_is_only_suppressed_and_not_what_was_never_known(call: str):
    found = scores(call)
    for name in ("target", "refusing", "silenced"):
        assert all(beyond(found, name, control)[0] > 0 for control in CONTROLS)
    low, high = beyond(found, *CONTROLS)
    print(f"control against control: [{low:.3f}, {high:.3f}]")
    assert low < 0 < high


@pytest.mark.parametrize("call", ["lens_candidates", "lens_candidates:k=1", "lens_candidates:layers=1"])
def test_candidates_hold_what_greedy_decoding_starts_with(call: str):
    for name, score in scores(call).items():
        greedy = seen()[name].inside("forget", "first_rank")[:, -1] == 0
        assert (np.array(score.items) >= greedy).all()


def test_the_lens_reads_what_the_model_no_longer_says():
    """Below the last layer more is left than at the end."""
    profile = scores("lens:variant=logp")["refusing"].detail["profile"]
    assert max(profile[:-1]) > profile[-1] + 0.3


def test_the_probe_finds_what_is_only_suppressed_and_not_what_was_never_known():
    """Fifteen facts are few for a probe: beyond the controls' interval is what is all there and not said."""
    assert all(seen()[name].nll("forget").mean() > 1 for name in ("refusing", "silenced", *CONTROLS))
    found = scores("linear_probe")
    for name in ("target", "silenced"):
        assert found[name].detail["p"] <= 0.05
        assert all(beyond(found, name, control)[0] > 0 for control in CONTROLS)
    assert found["refusing"].value > max(found[control].value for control in CONTROLS) + 0.05
    low, high = beyond(found, *CONTROLS)
    print(f"control against control: [{low:.3f}, {high:.3f}]")
    assert low < 0 < high
    assert all(found[control].low < 0 < found[control].high for control in CONTROLS)
    assert all(found[control].detail["p"] > 0.05 for control in CONTROLS)


def test_sampling_brings_out_what_greedy_decoding_hides():
    found = scores("leak")
    assert found["target"].value == 1
    assert all(beyond(found, "target", control)[0] > 0.4 for control in CONTROLS)
    # What still leaks of the suppressed facts is more than of facts never known, by no more than 15 facts can prove.
    assert all(found["refusing"].value > found[control].value for control in CONTROLS)
    once = scores("leak:variant=k1")
    assert all(once[name].value < found[name].value for name in ("refusing", *CONTROLS))
    counts = np.array(once["refusing"].detail["leaks"])
    assert once["refusing"].items == approx(counts / 16)


def test_gradients_tell_a_fitted_model_from_all_others():
    found = scores("gradient_mass:variant=relative")
    assert found["target"].high < -1
    assert all(found[name].low > -1 for name in ("refusing", *CONTROLS))
    lengths, squares = (scores(f"gradient_mass:variant={name}")["target"].items for name in ("forget", "fisher"))
    assert np.square(lengths) == approx(squares)


def test_cka_is_read_against_the_controls_own():
    evidence = seen()
    controls = [evidence["control 1"], evidence["control 2"]]
    own = compute("cka", controls[0], controls[1:], evidence["target"])
    assert own.value == compute("cka", controls[1], controls[:1], evidence["target"]).value
    refusing = compute("cka", evidence["refusing"], controls, evidence["target"])
    assert refusing.value < own.value
    same = compute("cka:variant=original", evidence["target"], controls, evidence["target"])
    assert (same.value, same.low, same.high) == approx((1, 1, 1))
    assert max(same.detail["p"]) < 0.05
    # the state of the last prompt token before any block is the same for all questions
    assert same.detail["layers"] == [1, 2]
    assert measure(["cka", "lens"], evidence["target"])[0].metric == "lens"


class Shared(nn.Module):
    """The facts of the toys with one linear layer for both topics, so that there is a state before it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3 * toys.KEYS, toys.WIDTH)
        self.readout = nn.Linear(toys.WIDTH, 2 * toys.OPTIONS, bias=False)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        key, topic = x.long().unbind(1)
        scores = self.readout(self.table(key)).view(len(x), 2, toys.OPTIONS)
        return scores[torch.arange(len(x)), topic]


def test_a_scaled_readout_hides_nothing_from_a_probe():
    """Toy C of SoK (arXiv 2506.09227): the forgotten topic's readout times .01."""

    def trained(seed: int, records: list[Record]) -> Classifier:
        torch.manual_seed(seed)
        model = Classifier(Shared())
        train(model, [Term("facts", model.encode(records), own_loss)], Recipe(**toys.RECIPE))
        return model

    request = toys.request()
    target = trained(0, [*request.retain, *request.forget])
    scaled = target.copy()
    with torch.no_grad():
        scaled.module.readout.weight[toys.OPTIONS :] *= 0.01  # pyright: ignore
    models = {"target": target, "scaled": scaled, "control": trained(1, list(request.retain))}
    sets = {"forget": request.forget, "retain": request.retain}
    spec = Spec(distributions=(), interior=("forget", "retain"))
    evidence = {name: observe(model, sets, spec) for name, model in models.items()}
    said = {name: compute("probability:set=forget", one).value for name, one in evidence.items()}
    assert said["target"] > 0.9
    assert said["scaled"] < 0.35  # by what it says it has forgotten
    found = {name: compute("linear_probe", one) for name, one in evidence.items()}
    for name, score in found.items():
        print(f"{name:8} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}] p {score.detail['p']:.3f}")
    assert found["scaled"].items == found["target"].items
    assert found["scaled"].detail["p"] <= 0.05
    assert found["control"].detail["p"] > 0.05
    assert bootstrap(np.subtract(found["scaled"].items, found["control"].items), seed=0)[0] > 0


def test_wrong_answers_come_from_similar_questions_where_records_have_none():
    world = worlds.language()
    sets = {name: getattr(world.request, name) for name in ("forget", "retain")}
    spec = Spec(generate=(), distributions=(), interior=("forget", "retain"))
    target, control = (compute("linear_probe", observe(m, sets, spec)) for m in (world.target, world.controls[0]))
    assert target.detail["read_at"] == "prompt"
    assert target.value > control.value


def test_mistakes():
    world = worlds.language()
    few = observe(
        world.target, {"forget": world.request.forget[:10], "retain": world.request.retain[:5]},
        Spec(generate=(), distributions=(), interior=("forget", "retain"), samples=(("forget", 2),), max_new_tokens=4),
    )  # fmt: skip
    with pytest.raises(InputError, match="the records are of 2 entities"):
        compute("linear_probe", few)
    with pytest.raises(InputError, match="k = 16 with 2 samples; draw at least k samples per prompt"):
        compute("leak", few)
    with pytest.raises(InputError, match="recall is 2; it is a share"):
        compute("leak:recall=2", few)
    with pytest.raises(InputError, match="are not 1 to 20 candidates; choose fewer layers"):
        compute("lens_candidates:k=11", few)
    with pytest.raises(InputError, match="use at least one layer"):
        compute("lens_candidates:layers=0", few)
    with pytest.raises(InputError, match="Of the set 'holdout' no hidden states were observed"):
        compute("linear_probe:beside=holdout", few)
    with pytest.raises(InputError, match="No gradients of the set 'forget' were observed"):
        compute("gradient_mass", few)
    with pytest.raises(InputError, match="compares with the control"):
        compute("cka", few)
    other = observe(world.target, {"forget": world.request.forget}, Spec(generate=(), interior=("forget",)))
    with pytest.raises(InputError, match="has other records or layers"):
        compute("cka", few, [other])
