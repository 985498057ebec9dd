"""The published relearning loops score padding; what an attack teaches must not depend on what a batch is padded to.

Both the fine-tuning attack of arXiv 2502.05209 and the one of arXiv 2502.05374 copy the token ids, padding included,
as labels. Ours is held to the same check, which theirs fails.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
from tests.attacks.tiny import language
from torch import Tensor

from lethe.descent.terms import own_loss
from lethe.descent.tuning import tuned
from lethe.losses.tokens import cross_entropy
from lethe.models.base import Batch, Model
from lethe.recipe import Recipe
from lethe.request import Record

Loss = Callable[[Model, Batch], Tensor]


def labels_are_inputs(model: Model, batch: Batch) -> Tensor:
    """The published loop: labels are a copy of the ids, padding with them; mean over all positions, (B,)."""
    return cross_entropy(model.logits(batch), batch.inputs["input_ids"][:, 1:]).mean(1)


def per_token(model: Model, batch: Batch) -> Tensor:
    return own_loss(model, batch) / model.sizes(batch)


def short_and_long() -> list[Record]:
    record = language().request.retain[0]
    return [record, {**record, "id": "long", "question": f"{record['question']} {record['question']}"}]


def alone_and_together(loss: Loss, records: Sequence[Record]) -> tuple[list[float], list[float]]:
    model = language().target
    examples = model.encode(records)
    with model.evaluating():
        alone = [float(loss(model, model.collate([example], [0]))) for example in examples]
        return alone, loss(model, model.collate(examples, range(len(examples)))).tolist()


def test_our_loss_of_an_item_is_the_same_in_any_batch():
    alone, together = alone_and_together(per_token, short_and_long())
    assert together == pytest.approx(alone, rel=1e-4)


def test_the_published_loss_is_rejected():
    alone, together = alone_and_together(labels_are_inputs, short_and_long())
    assert together[1] == pytest.approx(alone[1], rel=1e-4)  # the longest has no padding
    assert together[0] != pytest.approx(alone[0], rel=0.05)


def test_a_step_on_a_padded_batch_is_the_sum_of_steps_on_its_items():
    """Divided by the scored tokens of the whole step."""
    world = language()
    model = world.target.copy()
    records = short_and_long()
    recipe = Recipe(lr=1e-3, batch_size=2, clip=None, optimizer="sgd", momentum=0.0)
    ((_, found),) = tuned(model, world.request, records, (1,), recipe, "all", "test")
    examples = model.encode(records)
    sizes = sum(example.size for example in examples)
    for example in examples:
        (model.loss(model.collate([example], [0])).sum() / sizes).backward()
    with torch.no_grad():
        for weight in model.module.parameters():
            if weight.grad is not None:
                weight -= 1e-3 * weight.grad
    after = dict(model.module.named_parameters())
    for name, weight in found.module.named_parameters():
        assert torch.allclose(weight, after[name], atol=1e-6)
