"""What attacks on activations share: what they read is free of padding, and what they train keeps its bounds."""

from itertools import pairwise

import pytest
import torch
from tests.models.tiny import QUESTIONS, language

from lethe.descent.activations import answer_nll, chosen_blocks, increasing, prompt_states, scale, universal
from lethe.errors import InputError
from lethe.models.base import per_example
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, Place, steered

RECORDS = [*QUESTIONS[:5], {**QUESTIONS[6], "answer": "He was born far from here, in Aix-la-Chapelle."}]


def path(model: LanguageModel, place: Place, radii: list[float], seed: int = 0) -> list[tuple[torch.Tensor, float]]:
    return list(universal(model, model.encode(RECORDS), place, radii, steps=6, batch_size=4, seed=seed))


def test_the_attackers_loss_is_a_mean_of_means():
    model = language()
    examples = model.encode(RECORDS)
    sizes = torch.tensor([float(example.size) for example in examples])
    by_hand = float((per_example(model, examples, 1) / sizes).mean())
    assert answer_nll(model, examples) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_what_is_read_of_states_is_free_of_padding(architecture: str):
    model = language(architecture)
    together = prompt_states(model, RECORDS, [0, 1])
    for row, record in enumerate(RECORDS):
        alone = prompt_states(model, [record], [0, 1])
        assert all(torch.allclose(together[layer][row], alone[layer][0], atol=1e-5) for layer in (0, 1))
    other_answer = prompt_states(model, [{**RECORDS[0], "answer": "Elsewhere."}], [1])[1]
    assert torch.allclose(together[1][0], other_answer[0], atol=1e-5)  # it stands before the answer
    with pytest.raises(InputError, match="Record 'bare' has no prompt"):
        prompt_states(model, [*RECORDS, {"id": "bare", "text": "Ada was born in Rome."}], [0])
    places: list[Place] = ["embeddings", 1]
    for place in places:
        singles = [scale(model, [example], place)[0] * example.length for example in model.encode(RECORDS)]
        tokens = sum(example.length for example in model.encode(RECORDS))
        length, width = scale(model, model.encode(RECORDS), place)
        assert (length, width) == (pytest.approx(sum(singles) / tokens, rel=1e-5), 16)


@pytest.mark.parametrize("place", ["embeddings", 0])
def test_the_loss_never_rises_with_the_radius_and_the_vector_keeps_within(place: Place):
    model = language()
    model.module.eval()
    weights = dict(model.module.named_parameters())
    frozen = next(iter(weights))
    weights[frozen].requires_grad_(False)
    before = model.fingerprint()
    radii = [0.0, 0.1, 0.3, 1.0]
    found = path(model, place, radii)
    examples = model.encode(RECORDS)
    unit, _ = scale(model, examples, place)
    start = answer_nll(model, examples)
    assert float(found[0][0].abs().max()) == 0 and found[0][1] == start
    assert all(later <= sooner for (_, sooner), (_, later) in pairwise(found))
    assert found[-1][1] < start - 0.3
    for radius, (vector, loss) in zip(radii, found, strict=True):
        assert float(vector.norm()) <= radius * unit * 1.00001
        assert answer_nll(steered(model, {place: Added(vector)}), examples) == pytest.approx(loss, rel=1e-5)
    assert model.fingerprint() == before
    assert all(weight.grad is None for weight in weights.values())
    assert all(weight.requires_grad == (name != frozen) for name, weight in weights.items())
    again, other = path(model, place, radii), path(model, place, radii, seed=1)
    assert torch.equal(again[-1][0], found[-1][0]) and not torch.equal(other[-1][0], found[-1][0])


def test_blocks_and_strengths():
    model = language()
    assert chosen_blocks(model, (), "x") == chosen_blocks(model, (-1, 0, 1), "x") == [0, 1]
    with pytest.raises(InputError, match=r"x: layers are \(0, 2\), but the model has blocks 0 to 1"):
        chosen_blocks(model, (0, 2), "x")
    assert increasing((2.0, 0.5, 2.0), "x", "radii") == [0.5, 2.0]
    for wrong in ((), (-0.1,), (float("inf"),), (float("nan"),)):
        with pytest.raises(InputError, match=r"x: radii are .* at least 0"):
            increasing(wrong, "x", "radii")
