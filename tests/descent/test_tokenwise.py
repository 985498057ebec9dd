import torch
from tests.models import tiny

from lethe.descent.tokenwise import forget_tokens, frozen_logits, frozen_token_nll
from lethe.losses.targets import me
from lethe.losses.tokens import cross_entropy
from lethe.train import Recipe, train


def test_what_is_frozen_follows_the_batch_and_not_the_model():
    model = tiny.language()
    examples = model.encode(tiny.QUESTIONS)
    nll, logits = frozen_token_nll(model, examples, size=3), frozen_logits(model)
    rows = [7, 2, 9]
    batch = model.collate([examples[row] for row in rows], rows)
    with torch.no_grad():
        expected = model.logits(batch).clone()
        for weight in model.module.parameters():
            weight.mul_(-2.0)
    assert torch.allclose(logits(batch), expected)
    assert torch.allclose(nll(batch), cross_entropy(expected, batch.labels), atol=1e-5)
    assert (nll(batch)[batch.labels == -100] == 0).all()


def test_both_means_are_those_of_the_whole_batch_however_it_is_cut():
    """Scored tokens or all positions: one step with the batch whole and one with it in four parts are the same."""
    for every_position in (False, True):
        after = []
        for accumulate in (1, 4):
            model = tiny.language()
            compat = "reference" if every_position else "masked"
            term = forget_tokens(
                model.encode(tiny.QUESTIONS[:8]),
                lambda logits, batch, compat=compat: me(logits, batch.labels, compat),
                every_position=every_position,
            )
            recipe = Recipe(lr=1.0, steps=1, batch_size=8, optimizer="sgd", clip=None, accumulate=accumulate)
            value = train(model, [term], recipe).losses[0]["forget"]
            after.append((value, torch.cat([weight.flatten() for weight in model.module.parameters()])))
        assert abs(after[0][0] - after[1][0]) < 1e-5
        assert torch.allclose(after[0][1], after[1][1], atol=1e-5)
        batch = next(tiny.language().batches(tiny.language().encode(tiny.QUESTIONS[:8])))
        values = me(tiny.language().logits(batch), batch.labels, "reference")
        expected = values.mean() if every_position else values[batch.labels != -100].mean()
        assert abs(after[0][0] - expected.item()) < 1e-5
