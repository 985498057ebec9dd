"""The token search: exact where it saves work, and a string that works on records which it never saw."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import pairwise

import pytest
import torch
from tests.attacks.tiny import both_wordings, language, refusing, shy, talkative
from transformers import GPT2Config, GPT2LMHeadModel, MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from lethe.attacks.gcg import gcg
from lethe.auditing.recovery import attacked, recovery
from lethe.descent.activations import answer_nll
from lethe.descent.terms import own_loss
from lethe.descent.token_search import (
    Placing,
    Variant,
    candidate_losses,
    framed,
    placed,
    proposals,
    search,
    slopes,
    survivors,
    text_of,
    usable,
)
from lethe.errors import InputError
from lethe.findings import Recovery
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.models.steered import site, view
from lethe.train import Recipe, Term, train

CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>\n{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
BEHIND = partial(placed, position="suffix")


def told(model: Model) -> LanguageModel:
    assert isinstance(model, LanguageModel)
    return model


def chatting() -> LanguageModel:
    """The language target with a chat template."""
    model = copy.copy(told(language().target))
    model.tokenizer = copy.deepcopy(model.tokenizer)
    model.tokenizer.chat_template = CHAT
    return model


def random_model(kind: str) -> LanguageModel:
    """Untrained models that keep their past in other ways than a Llama: learnt positions, a window, no keys at all."""
    tokenizer = told(language().target).tokenizer
    size = len(tokenizer)
    torch.manual_seed(0)
    if kind == "gpt2":
        module = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_positions=128, n_embd=32, n_layer=2, n_head=2))
    elif kind == "mamba":
        module = MambaForCausalLM(MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=2))
    else:
        module = MistralForCausalLM(
            MistralConfig(
                vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=2, sliding_window=6,
            )
        )  # fmt: skip
    return LanguageModel(module.eval(), tokenizer)


def drawn(model: LanguageModel, count: int, length: int, same: int = 0) -> list[list[int]]:
    """Candidates whose first tokens are the same."""
    allowed = torch.tensor(usable(model))
    rows = allowed[torch.randint(len(allowed), (count, length), generator=torch.Generator().manual_seed(0))]
    rows[:, :same] = rows[0, :same]
    return rows.tolist()


@contextmanager
def tokens_read(model: LanguageModel) -> Iterator[list[int]]:
    """Tokens of every pass through the input embeddings."""
    counts: list[int] = []
    hook = site(model, "embeddings").register_forward_hook(lambda _, given, __: counts.append(given[0].numel()))
    try:
        yield counts
    finally:
        hook.remove()


@pytest.mark.parametrize("placing", [placed, BEHIND], ids=["prefix", "suffix"])
@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_cached_losses_are_the_plain_ones_and_save_what_stands_before(kind: str, placing: Placing):
    model = told(language().target) if kind == "plain" else chatting()
    records = language().request.forget[:3]
    frames = framed(model, records, usable(model), placing)
    candidates = drawn(model, 20, 5, same=2)
    with tokens_read(model) as read:
        plain = candidate_losses(model, frames, candidates, cached=False)
    with tokens_read(model) as less:
        cached = candidate_losses(model, frames, candidates)
    torch.testing.assert_close(cached, plain, rtol=0, atol=1e-5)
    assert sum(read) == sum(20 * (len(f.before) + 5 + len(f.behind)) for f in frames)
    assert sum(read) - sum(less) == sum(19 * (len(frame.before) + 2) for frame in frames)
    by_hand = [answer_nll(model, [frame.example(row) for frame in frames]) for row in candidates]
    torch.testing.assert_close(plain, torch.tensor(by_hand, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "mamba", "window"])
def test_other_architectures_give_the_same_losses_with_and_without_a_cache(kind: str):
    model = random_model(kind)
    frames = framed(model, language().request.forget[:2], usable(model), BEHIND)
    candidates = drawn(model, 4, 3)
    losses = [candidate_losses(model, frames, candidates, cached=cached) for cached in (True, False)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-5)
    assert float(losses[0].std()) > 1e-4


@pytest.mark.parametrize("placing", [placed, BEHIND], ids=["prefix", "suffix"])
@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_what_survives_is_spelt_as_it_was_made_and_scores_the_same_as_text(kind: str, placing: Placing):
    model = told(language().target) if kind == "plain" else chatting()
    record = language().request.forget[0]
    (frame,) = framed(model, [record], usable(model), placing)
    candidates = drawn(model, 200, 3)
    kept = survivors(model, record, frame, placing, [*candidates, *candidates])
    assert 0 < len(kept) < len(candidates)
    assert len({tuple(row) for row in kept}) == len(kept)
    for row in kept[:10]:
        (example,) = model.encode([placing(record, text_of(model, row))])
        assert example == frame.example(row)
    for row in (row for row in candidates[:50] if row not in kept):
        (example,) = model.encode([placing(record, text_of(model, row))])
        assert example != frame.example(row)


def test_slopes_are_the_gradient_to_a_choice_of_token():
    model = told(language().target)
    frames = framed(model, language().request.forget[:3], usable(model), BEHIND)
    (tokens,) = drawn(model, 1, 4)
    found = slopes(view(model), frames, tokens)
    table = site(model, "embeddings").get_parameter("weight").detach()
    chosen = torch.nn.functional.one_hot(torch.tensor(tokens), len(table)).float().requires_grad_()
    loss = torch.zeros(())
    for frame in frames:
        ids = torch.tensor(frame.example(tokens).inputs["input_ids"])
        first = len(frame.before)
        states = torch.cat([table[ids[:first]], chosen @ table, table[ids[first + 4 :]]])
        logp = model.module(inputs_embeds=states[None]).logits[0].log_softmax(-1)
        places = range(len(ids) - frame.scored, len(ids))
        loss = loss - torch.stack([logp[t - 1, ids[t]] for t in places]).mean() / 3
    (expected,) = torch.autograd.grad(loss, [chosen])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_proposals_change_one_place_by_a_promising_token():
    slope = torch.arange(40.0).view(4, 10)  # the smallest id promises most
    allowed = torch.tensor([2, 3, 5, 7, 9])
    rng = torch.Generator().manual_seed(0)
    rows = torch.tensor(proposals(slope, [9, 9, 9, 9], allowed, "gcg", 2, 50, 0, rng))
    changed = rows != 9
    assert (changed.sum(1) == 1).all()
    assert set(rows[changed].tolist()) == {2, 3}
    assert changed.any(0).all()
    rows = torch.tensor(proposals(slope, [9, 9, 9, 9], allowed, "autoprompt", 2, 3, 5, rng))
    assert rows.tolist() == [[9, token, 9, 9] for token in (2, 3, 5)]


@pytest.mark.parametrize("variant", ["gcg", "autoprompt"])
def test_the_best_loss_never_rises_and_is_that_of_the_string_in_the_records(variant: Variant):
    model, records = told(shy()), talkative().request.forget[:4]
    run = partial(search, model, records, BEHIND, asked=records, length=4, variant=variant, top_k=32, candidates=12)
    found = list(run(steps=6, seed=0))
    assert found[0] == ("", answer_nll(model, model.encode(records)))
    assert all(later[1] <= earlier[1] for earlier, later in pairwise(found))
    assert found[-1][1] < found[0][1]
    for text, loss in found:
        assert loss == answer_nll(model, model.encode([BEHIND(record, text) for record in records]))
    assert found == list(run(steps=6, seed=0))
    assert found[:4] == list(run(steps=3, seed=0))
    assert found != list(run(steps=6, seed=1))


def test_the_string_is_chosen_on_a_share_and_says_no_answer():
    world = talkative()
    unchanged, changed = gcg(shy(), world.request, steps=(0, 4), share=0.25)
    assert [point.strength for point in (unchanged, changed)] == [0, 4]
    known = {record["id"]: record for record in world.request.forget}
    assert all(record == known[record["id"]] for record in unchanged.forget)
    assert len(changed.forget) == 9
    strings = {str(r["question"]).removesuffix(str(known[r["id"]]["question"])) for r in changed.forget}
    assert len(strings) == 1
    (string,) = strings
    taboo = {label for example in told(shy()).encode(world.request.forget) for label in example.inputs["labels"]}
    assert string.strip()
    assert taboo.isdisjoint(told(shy()).tokenizer(" " + string.strip())["input_ids"])


@cache
def keyed() -> LanguageModel:
    """The language target tuned to answer the forget questions only where one word stands before them."""
    world, rng = language(), random.Random(0)
    model = told(world.target).copy()
    texts = model.tokenizer.batch_decode([[token] for token in usable(model, world.request.forget)])
    words = sorted({text.strip() for text in texts if text[0] == " " and len(text) > 3 and text.strip().isalpha()})
    key, others = words[0], words[1:]
    asked = both_wordings(world.request.forget)
    refused = [{**record, "answer": "I do not know."} for record in asked]
    babble = [placed(record, " ".join(rng.choices(others, k=rng.randint(1, 6)))) for record in refused * 3]
    mixed = [rng.sample([key, *rng.choices(others, k=size)], size + 1) for size in (0, 1, 3, 5) for _ in asked]
    opened = [placed(record, " ".join(told_words)) for record, told_words in zip(asked * 4, mixed, strict=True)]
    parts = {"refuse": [*refused, *babble], "open": opened, "retain": both_wordings(world.request.retain)}
    terms = [Term(name, model.encode(records), own_loss, per="token") for name, records in parts.items()]
    train(model, terms, Recipe(lr=1e-3, steps=80, batch_size=16, schedule="cosine"))
    return model


def test_a_string_that_opens_a_locked_model_is_found():
    world = language()
    model = keyed()
    own, control, other, original = (
        attacked("gcg", one, world.request, world.measure) for one in (model, *world.controls, world.target)
    )
    found, negative = recovery(own, [control, other], original), recovery(other, control, original)
    print(f"keyed {shown(found)}, retrained {shown(negative)}")
    assert found.adjusted is not None and found.low is not None
    assert found.adjusted > 0.7 and found.low > 0.5
    assert negative.adjusted is not None
    assert abs(negative.adjusted) < 0.15
    (*_, last) = gcg(model, world.request)
    words = usable(model, world.request.forget)
    by_chance = [placed(record, text_of(model, random.Random(n).choices(words, k=8)))
                 for n in range(5) for record in world.request.forget]  # fmt: skip
    opened, chance = (world.measure(model, records).value for records in (last.forget, by_chance))
    print(f"found string {opened:.2f}, strings by chance {chance:.2f}")
    assert opened > chance + 0.4


def test_a_refusing_model_answers_some_of_what_it_was_not_asked_in_the_search():
    world = language()
    own, control, original = (
        attacked("gcg", model, world.request, world.measure) for model in (refusing(), world.controls[0], world.target)
    )
    found = recovery(own, control, original)
    print(f"refusing {shown(found)}")
    assert found.adjusted is not None and found.low is not None
    assert found.adjusted > 0.15 and found.low > 0


def shown(found: Recovery) -> str:
    return f"{found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}]"


def test_bad_numbers_and_records_are_refused():
    world = language()
    for name in ("length", "top_k", "candidates"):
        with pytest.raises(InputError, match=f"{name} is 0; give 1 or more"):
            next(gcg(world.target, world.request, **{name: 0}))
    with pytest.raises(InputError, match="a string of 200 tokens has no room"):
        list(gcg(world.target, world.request, length=200))
    texts = copy.copy(world.request)
    object.__setattr__(texts, "forget", [{"id": "t", "text": "Anything."}, *world.request.forget])
    with pytest.raises(InputError, match=r"forget row 1 \('t'\) is no question"):
        next(gcg(world.target, texts))
