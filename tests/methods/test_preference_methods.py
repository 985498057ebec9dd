"""Methods that set a forget answer against others: what they compare, where the others come from, what is refused."""

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.models import tiny

from lethe.data.refusals import refuse
from lethe.errors import InputError
from lethe.losses.divergence import kl
from lethe.losses.preference import ap as ap_loss
from lethe.losses.preference import dpo as dpo_loss
from lethe.losses.preference import kto as kto_loss
from lethe.losses.preference import npo as npo_loss
from lethe.methods.altpo import altpo
from lethe.methods.ap import ap
from lethe.methods.dpo import dpo
from lethe.methods.ga import ga
from lethe.methods.kto import kto
from lethe.methods.llmu import llmu
from lethe.methods.npo import npo
from lethe.models.base import Batch
from lethe.models.language import LanguageModel
from lethe.registry import find, settle
from lethe.request import Record, Request
from lethe.train import Term

START, MOVED = tiny.language(seed=0), tiny.language(seed=1)  # the model before unlearning, and somewhere on its way
REQUEST = tiny.request("language")


def terms(method: Any, **options: Any) -> dict[str, Term]:
    made = inspect.unwrap(method)(START.copy(), REQUEST, **options)
    return {term.name: term for term in ([made] if isinstance(made, Term) else made)}


def whole(model: LanguageModel, records: Sequence[Record]) -> Batch:
    examples = model.encode(records)
    return model.collate(examples, range(len(examples)))


def nll(model: LanguageModel, records: Sequence[Record]) -> torch.Tensor:
    return model.loss(whole(model, records)).detach()


FORGET, RETAIN, REFUSED = REQUEST.forget, REQUEST.retain, refuse(REQUEST.forget, REQUEST.seed)


def test_dpo_sets_each_answer_against_its_refusal():
    value = terms(dpo)["forget"].loss(MOVED, whole(MOVED, FORGET))
    expected = dpo_loss(nll(MOVED, FORGET), nll(START, FORGET), nll(MOVED, REFUSED), nll(START, REFUSED))
    assert torch.allclose(value, expected, atol=1e-4)


@pytest.mark.parametrize("variant", ["paper", "sigmoid", "logsigmoid"])
def test_kto_sets_each_answer_against_the_batchs_mean_refusal(variant: Any):
    level = (nll(START, REFUSED) - nll(MOVED, REFUSED)).mean()
    value = terms(kto, variant=variant)["forget"].loss(MOVED, whole(MOVED, FORGET))
    expected = kto_loss(nll(MOVED, FORGET), nll(START, FORGET), level, variant=variant)
    assert torch.allclose(value, expected, atol=1e-4)
    with pytest.raises(InputError, match="neither accumulate > 1"):  # the mean is over the whole batch
        kto(START, REQUEST, variant=variant, accumulate=2)


def test_npo_on_the_batch_mean_is_one_number_for_the_batch():
    batch = whole(MOVED, FORGET)
    tokens = MOVED.sizes(batch).sum()
    value = terms(npo, reduction="batch_token_mean")["forget"].loss(MOVED, batch)
    assert torch.allclose(value, npo_loss(nll(MOVED, FORGET).sum() / tokens, nll(START, FORGET).sum() / tokens))
    with pytest.raises(InputError, match="neither accumulate > 1"):
        npo(START, REQUEST, reduction="batch_token_mean", accumulate=2)


# arXiv 2502.05374, WMDP: lr, beta, retain weight, step rule.
SMOOTHED = {
    "wmdp": (5e-6, 0.0225, 1.0, "plain"),
    "sam": (5e-6, 0.015, 2.25, "sam:rho=0.01"),
    "rs": (1e-5, 0.0125, 2.0, "rs:sigma=1e-4,draws=3"),
    "cr": (8.5e-6, 0.035, 1.0, "cr:weight=10,mu=0.01"),
    "gp": (7.5e-6, 0.04, 1.0, "gp:weight=10"),
    "wa": (5.5e-6, 0.05, 2.0, "wa:start=100,every=5"),
}


def test_published_settings_of_npo_with_smoothing_run_and_are_those_of_the_paper():
    card, made = find("method", "npo"), set()
    for name, published in SMOOTHED.items():
        usual = {key: option.default for key, option in card.options().items() if key in ("retain_weight", "step")}
        options = usual | settle(card, {"preset": name})
        assert tuple(options[key] for key in ("lr", "beta", "retain_weight", "step")) == published
        assert (options["steps"], options["batch_size"], options["reduction"]) == (125, 4, "batch_token_mean")
        steps = 125 if name == "wa" else 3  # the average begins at step 100
        made.add(npo(START, REQUEST, **options | {"steps": steps, "lr": 1e-2}).fingerprint())
    assert len(made) == len(SMOOTHED)


def test_ga_may_be_held_on_the_forget_set_itself():
    batch = whole(MOVED, FORGET)
    assert list(terms(ga)) == ["forget"]
    value = terms(ga, anchor=0.5)["forget_kl"]
    assert value.weight == 0.5
    assert torch.allclose(value.loss(MOVED, batch), kl(START.logits(batch), MOVED.logits(batch), batch.labels).sum(1))


def test_ap_keeps_retain_answers_above_refusals():
    made = terms(ap, weight=2.0)
    assert made["retain"].weight == 2
    assert torch.allclose(made["forget"].loss(MOVED, whole(MOVED, REFUSED)), nll(MOVED, REFUSED))
    value = made["retain"].loss(MOVED, whole(MOVED, RETAIN))
    assert torch.allclose(value, ap_loss(nll(MOVED, RETAIN), nll(MOVED, refuse(RETAIN, REQUEST.seed))), atol=1e-4)


def test_llmu_has_three_terms_and_its_code_scores_prompt_and_padding_of_the_third():
    made, released = terms(llmu, answers=3), terms(llmu, answers=3, variant="reference")
    for form in (made, released):
        assert {name: term.weight for name, term in form.items()} == {"forget": 0.5, "mismatch": 1, "normal": 1}
    assert len(made["mismatch"].examples) == 3 * len(FORGET)
    batch = whole(MOVED, RETAIN)
    reference, logits = START.logits(batch), MOVED.logits(batch)
    scored, every = (kl(reference, logits, batch.labels, compat=compat) for compat in ("masked", "reference"))
    assert (made["normal"].per, released["normal"].per) == ("token", "example")
    assert torch.allclose(made["normal"].loss(MOVED, batch), scored.sum(1), atol=1e-5)
    assert torch.allclose(released["normal"].loss(MOVED, batch).mean(), every.mean(), atol=1e-6)
    learner = MOVED.copy()
    slopes = []
    for form, count in ((made, int(MOVED.sizes(batch).sum())), (released, len(batch))):
        learner.module.zero_grad()
        (form["normal"].loss(learner, batch).sum() / count).backward()
        slopes.append(torch.cat([weight.grad.flatten() for weight in learner.module.parameters()]))  # pyright: ignore
    assert torch.cosine_similarity(*slopes, dim=0) < 0.99


def test_llmu_mismatches_questions_with_answers_of_others():
    questions = [START.prompt(record["question"]) for record in FORGET]
    texts = [str(START.tokenizer.decode(e.inputs["input_ids"])) for e in terms(llmu)["mismatch"].examples]
    assert len(set(texts)) == 5 * len(FORGET)
    for row, text in enumerate(texts):
        prompt, own = questions[row // 5], FORGET[row // 5]["answer"]
        assert text.startswith(prompt)
        assert own not in text
        assert any(record["answer"] in text for record in RETAIN)


def test_llmu_lets_go_of_an_answer_beyond_its_limit():
    batch = whole(MOVED, FORGET)
    value = terms(llmu, limit=1.0)["forget"].loss(MOVED, batch)
    assert torch.equal(value, -MOVED.sizes(batch).float())  # every token costs more than a nat here


def test_altpo_prefers_what_the_model_says_when_it_says_something_else():
    examples = terms(altpo, alternatives=3)["forget"].examples
    texts = [START.tokenizer.decode(e.inputs["input_ids"]) for e in examples]
    assert len(texts) == 3 * len(FORGET)
    assert len(set(texts)) == len(FORGET)  # each known answer once per alternative
    value = terms(altpo)["forget"].loss(START, START.collate(examples[:3], range(3)))
    assert value.tolist() == pytest.approx([13.862943611] * 3, abs=1e-3)  # (2/beta) log 2: nothing is preferred yet


def test_altpo_says_when_the_model_knows_no_other_answer():
    """A model that ends at once, however warm it is."""
    stubborn = START.copy()
    head: Any = stubborn.module.get_output_embeddings()  # pyright: ignore
    head.bias = torch.nn.Parameter(torch.zeros(258).scatter(0, torch.tensor([256]), 1e6))
    with pytest.raises(InputError, match="rounds of draws for record 'Ada' brought no other answer; raise temperature"):
        altpo(stubborn, REQUEST)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (altpo, {"alternatives": 0}, "alternatives is 0"),
        (altpo, {"temperature": 0.0}, "temperature is 0.0"),
        (llmu, {"answers": 0}, "answers is 0"),
        (llmu, {"limit": 0.0}, "limit is 0.0"),
        (kto, {"beta": 0.0}, "beta is 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(method: Any, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        method(START, REQUEST, **options)


@pytest.mark.parametrize("method", [altpo, llmu])
def test_texts_without_questions_are_refused(method: Any):
    texts = Request([{"id": "t", "text": "Ada was born in Rome."}], RETAIN, allow_overlap=True)
    with pytest.raises(InputError, match="record 't' has no question"):
        method(START, texts)
