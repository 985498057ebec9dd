"""Methods for classifiers on the numbers of their reference card, and against the defects of released code."""

import copy

import pytest
import torch
from tests.attacks.tiny import classifier
from torch import nn

from lethe.descent.terms import own_loss
from lethe.descent.where import last
from lethe.errors import InputError
from lethe.losses.weights import dampen, fisher_spread
from lethe.methods.bad_teacher import bad_teacher
from lethe.methods.boundary_expand import boundary_expand
from lethe.methods.boundary_shrink import boundary_shrink, neighbours
from lethe.methods.cf_k import cf_k
from lethe.methods.eu_k import eu_k
from lethe.methods.fisher import expected_fisher, fisher
from lethe.methods.l1_sparse import Fading, l1_sparse
from lethe.methods.ssd import importance, ssd
from lethe.methods.unsir import unsir
from lethe.models.classifier import Classifier
from lethe.models.nets import MLP
from lethe.recipe import Recipe
from lethe.request import Request
from lethe.train import Done, Term, train


class Normed(nn.Module):
    """Two blocks with batch norm, whose running statistics are no weights and move all the same, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(16, 8), nn.BatchNorm1d(8)
        self.second, self.last_norm = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.last_norm(self.second(x))))


def normed() -> Classifier:
    torch.manual_seed(1)
    return Classifier(Normed().eval())


def request() -> Request:
    return classifier().request


def one_class() -> Request:
    records = [*request().forget, *request().retain]
    gone = [record for record in records if record["label"] == 0]
    return Request(gone, [record for record in records if record["label"] != 0], seed=3, allow_overlap=True)


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    own, other = before.state_dict(), after.state_dict()
    return {name for name in own if not torch.equal(own[name], other[name])}


def test_ssd_on_four_weights():
    theta, of_all = torch.tensor([1.0, -2, 3, 4]).double(), torch.tensor([0.01, 0.02, 0.1, 0]).double()
    of_forget = torch.tensor([0.2, 0.1, 0.5, 0.3]).double()
    torch.testing.assert_close(dampen(theta, of_all, of_forget, 10, 1), torch.tensor([0.05, -2, 3, 0]).double())
    torch.testing.assert_close(dampen(theta, of_all, of_forget, 4, 1), torch.tensor([0.05, -0.4, 0.6, 0]).double())


def test_ssd_importance_depends_on_the_batch_and_one_at_a_time_is_the_fisher_information():
    model = classifier().target
    examples = model.encode(request().forget[:8])
    alone, together = importance(model, examples, 1), importance(model, examples, 8)
    by_hand = torch.zeros_like(alone["head.weight"])
    for row, example in enumerate(examples):
        loss = model.loss(model.collate([example], [row])).sum()
        by_hand += torch.autograd.grad(loss, model.module.head.weight)[0].square() / 8  # pyright: ignore
    torch.testing.assert_close(alone["head.weight"], by_hand)
    assert not torch.allclose(alone["head.weight"], together["head.weight"], rtol=0.1)


def test_ssd_that_nothing_exceeds_is_the_identity():
    model = classifier().target
    assert ssd(model, request(), alpha=1e6).fingerprint() == model.fingerprint()
    assert ssd(model, request(), alpha=1.5).fingerprint() != model.fingerprint()


@pytest.mark.parametrize("count", [1, 2])
def test_cf_k_leaves_all_before_the_last_layers_bit_identical_and_their_statistics_too(count: int):
    model = normed()
    made = cf_k(model, request(), where=f"last:count={count}", lr=1e-2, epochs=2)
    moved = {1: {"head"}, 2: {"second", "last_norm", "head"}}[count]
    assert {name.partition(".")[0] for name in changed(model.module, made.module)} == moved


def test_statistics_of_layers_that_train_do_move():
    model = normed()
    train(model, [Term("data", model.encode(request().retain), own_loss)], Recipe(lr=0.0, steps=2, batch_size=16))
    assert changed(normed().module, model.module) >= {"norm.running_mean", "last_norm.running_var"}


def test_looking_between_steps_does_not_thaw_frozen_statistics():
    model = normed()
    options = {"evaluate": lambda _: 0.0, "evaluate_every": 1, "lr": 1e-2, "epochs": 2}
    made = cf_k(model, request(), where="last:count=1", **options)
    assert {name.partition(".")[0] for name in changed(model.module, made.module)} == {"head"}


def test_eu_k_draws_the_last_layers_anew_and_no_others():
    model = classifier().target
    made = eu_k(model, request(), where="last:count=1,fresh=true", lr=0.0, epochs=1)
    assert changed(model.module, made.module) == {"head.weight", "head.bias"}
    other = eu_k(model, Request(request().forget, request().retain, seed=1, allow_overlap=True),
                 where="last:count=1,fresh=true", lr=0.0, epochs=1)  # fmt: skip
    assert changed(made.module, other.module) == {"head.weight", "head.bias"}


def test_more_layers_than_there_are_are_refused():
    with pytest.raises(InputError, match="count is 9, and the network has 3 layers"):
        last(classifier().target.copy(), request(), count=9)


def test_the_l1_penalty_fades_in_equal_steps():
    fading = Fading(5e-4, 0)
    fading.begin({}, Recipe(epochs=10), 40)
    values = []
    for step in range(40):
        values.append(float(fading))
        fading.after(Done(step + 1, step // 4, {}))
    assert values[::4] == pytest.approx([5e-4 * (1 - t / 10) for t in range(10)])
    assert values[:4] == [5e-4] * 4
    later = Fading(5e-4, 5)
    later.begin({}, Recipe(epochs=10), 10)
    later.state["step"].fill_(5)
    assert float(later) == 0


def test_the_l1_penalty_makes_weights_small_and_without_it_nothing_but_fine_tuning_is_left():
    def norm(gamma: float) -> float:
        made = l1_sparse(classifier().target, request(), gamma=gamma, lr=1e-2, epochs=3)
        return float(sum(weight.detach().abs().sum() for weight in made.module.parameters()))

    assert norm(1e-2) < 0.9 * norm(0.0)


def test_the_bad_teachers_reference_divides_by_the_classes():
    model = classifier().target
    terms = {
        variant: bad_teacher.__wrapped__(model.copy(), request(), variant=variant)  # pyright: ignore
        for variant in ("paper", "reference")
    }
    values = []
    for variant in ("paper", "reference"):
        term = terms[variant][0]
        batch = model.collate(term.examples[:6], range(6))
        values.append(term.loss(model, batch))
    torch.testing.assert_close(values[0], values[1] * 4)
    retain = terms["paper"][1]
    assert len(retain.examples) == round(0.3 * len(request().retain))
    batch = model.collate(retain.examples[:6], range(6))
    torch.testing.assert_close(retain.loss(model, batch), torch.zeros(6), atol=1e-6, rtol=0)


def test_fisher_forgetting_spares_what_the_retain_set_needs():
    spread = fisher_spread(torch.tensor([0.0, 1e-3, 1.0, 100.0]).double(), 1e-6, 1e3)
    torch.testing.assert_close(spread, torch.tensor([1e-3, 1e-3, 1e-6, 1e-8]).double(), rtol=2e-5, atol=0)
    model = classifier().target
    assert fisher(model, request(), alpha=0.0).fingerprint() == model.fingerprint()


def test_fisher_information_is_that_of_a_softmax_regression():
    torch.manual_seed(0)
    model = Classifier(nn.Linear(16, 4).eval())
    record = {"id": "a", "features": torch.randn(16).numpy(), "label": 1}
    found = expected_fisher(model, Request([record], [record], allow_overlap=True))
    x = torch.tensor(record["features"])
    p = model.module(x).softmax(-1)
    # d log p_y / d b = e_y - p, squared and averaged over y ~ p: p (1 - p)
    torch.testing.assert_close(found["bias"], p * (1 - p), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["weight"], (p * (1 - p))[:, None] * x.square(), rtol=1e-4, atol=1e-6)


def test_a_hidden_layer_as_wide_as_there_are_classes_is_no_head():
    """The released test is for the size alone, and hits it."""
    torch.manual_seed(0)
    model = Classifier(MLP(inputs=16, classes=4, width=4))
    made = fisher(model, one_class(), alpha=1e-12)
    before, after = model.module.state_dict(), made.module.state_dict()
    assert max(float((before[name] - after[name]).abs().max()) for name in before if "hidden" in name) < 1e-3
    assert after["head.weight"][0].abs().max() < 0.1
    torch.testing.assert_close(after["head.weight"][1:], before["head.weight"][1:], atol=1e-3, rtol=0)


@pytest.mark.parametrize("radius", [1e-6, 0.5, 3.0])
def test_the_nearest_class_is_never_the_records_own(radius: float):
    """After too short a step the published code trains on the true label, which forgets nothing."""
    model = classifier().target
    batch = model.collate(model.encode(request().forget), range(len(request().forget)))
    found = neighbours(model, batch, radius)
    assert (found != batch.labels).all()
    if radius < 1e-3:
        wrong = model.logits(batch)[:, 0].scatter(1, batch.labels, -torch.inf).argmax(-1)[:, None]
        assert torch.equal(found, wrong)


def test_a_radius_of_nothing_is_refused():
    with pytest.raises(InputError, match="radius is 0"):
        boundary_shrink(classifier().target, request(), radius=0.0)


def test_the_extra_class_is_taken_away_again_and_the_records_went_there():
    model, asked = classifier().target, one_class()
    made = boundary_expand(model, asked, lr=3e-3, epochs=10)
    assert {name: value.shape for name, value in made.module.state_dict().items()} == {
        name: value.shape for name, value in model.module.state_dict().items()
    }
    batch = model.collate(model.encode(asked.forget), range(len(asked.forget)))
    before, after = (float(one.loss(batch).mean().detach()) for one in (model, made))
    assert after > before + 0.5
    assert boundary_expand(model, asked, lr=0.0, epochs=1).fingerprint() == model.fingerprint()


def test_unsir_reads_no_forget_record_and_only_forgets_whole_classes():
    model, asked = classifier().target, one_class()
    empty = [{**record, "features": [0.0] * 16} for record in asked.forget]
    blind = Request(empty, asked.retain, seed=asked.seed, allow_overlap=True)
    one, other = (unsir(copy.copy(model), each, lr=1e-3, copies=5) for each in (asked, blind))
    assert one.fingerprint() == other.fingerprint()
    with pytest.raises(InputError, match="class 0 stands in the forget and in the retain set"):
        unsir(model, request())
