"""Answers drawn instead of the likeliest: by a seed alone, from the distribution that the model states."""

from collections import Counter

import torch
from tests.models import tiny

PROMPTS = ["a", "bc", "Where was Ada born?"]


def test_greedy_is_what_it_was_and_takes_no_seed():
    model = tiny.language()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    greedy = model.generate(PROMPTS, 6)
    assert greedy == model.generate(PROMPTS, 6, temperature=0.0, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_follow_their_seed_and_leave_the_global_state_alone():
    model = tiny.language()
    torch.manual_seed(3)
    first = model.generate(PROMPTS, 6, temperature=1.0, seed=1)
    state = torch.get_rng_state()
    assert model.generate(PROMPTS, 6, temperature=1.0, seed=1) == first
    assert model.generate(PROMPTS, 6, temperature=1.0, seed=2) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_have_the_models_probabilities():
    """One token out of 258, whatever its rank, as often as the softmax of the logits over the temperature says."""
    model, count = tiny.language(), 4000
    for temperature in (0.5, 2.0):
        drawn = Counter(model.generate(["a"] * count, 1, batch_size=500, temperature=temperature, seed=0))
        ids = torch.tensor([model.tokenizer("a")["input_ids"]])
        with model.evaluating():
            logits = model.module(input_ids=ids).logits[0, -1]
        expected = (logits / temperature).softmax(-1)
        top = expected.topk(5).indices.tolist()
        for token in top:
            text = str(model.tokenizer.decode([token])).strip()
            share = drawn[text] / count
            # several bytes decode to nothing or to the same replacement character: leave those out
            if text.isascii() and text:
                assert abs(share - expected[token].item()) < 4 * (expected[token].item() / count) ** 0.5 + 1e-3


def test_colder_is_closer_to_the_likeliest():
    model = tiny.language()
    greedy = model.generate(PROMPTS * 20, 4)

    def agreement(temperature: float) -> int:
        drawn = model.generate(PROMPTS * 20, 4, temperature=temperature, seed=0)
        return sum(a == b for a, b in zip(drawn, greedy, strict=True))

    assert agreement(0.02) > agreement(2.0)
