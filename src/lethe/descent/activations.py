"""What attacks on activations have in common: how likely the answers are, where the states lie, what vector helps.

An attacker judges by the answers of the forget records that he holds, in `answer_nll`; lower is better for him.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from lethe.data.order import mix, stream
from lethe.errors import InputError
from lethe.models.base import IGNORED, Example
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, Place, steered
from lethe.request import Record

T = TypeVar("T")


def answer_nll(model: LanguageModel, examples: Sequence[Example]) -> float:
    """Mean over the records of each answer's mean negative log-likelihood per token, nats."""
    total = 0.0
    with model.evaluating():
        for batch in model.batches(examples):
            total += float((model.loss(batch) / model.sizes(batch)).double().sum())
    return total / len(examples)


def most_telling(candidates: Iterable[tuple[T, LanguageModel]], examples: Sequence[Example]) -> tuple[T, LanguageModel]:
    """Of several changed models the one under which the answers are likeliest; the first among equals."""
    return min(candidates, key=lambda candidate: answer_nll(candidate[1], examples))


def chosen_blocks(model: LanguageModel, layers: Sequence[int], what: str) -> list[int]:
    """The blocks that an attack tries, counted from 0; all of them where none is named.

    Raises:
        InputError: If the model has no such block.
    """
    count = len(model.blocks())
    for layer in layers:
        if not -count <= layer < count:
            raise InputError(f"{what}: layers are {tuple(layers)}, but the model has blocks 0 to {count - 1}.")
    return sorted({layer % count for layer in layers}) or list(range(count))


def prompt_states(model: LanguageModel, records: Sequence[Record], layers: Sequence[int]) -> dict[int, Tensor]:
    """Outputs (N, D) of the named blocks at the last token of each record's prompt, float32 on the CPU.

    Raises:
        InputError: If a record is a text without a prompt.
    """
    rows: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    order: list[Tensor] = []
    with model.evaluating():
        for batch in model.batches(model.encode(records)):
            if bool((bare := batch.labels[:, 0] != IGNORED).any()):
                record = records[int(batch.index[int(bare.int().argmax())])]
                raise InputError(
                    f"Record {record.get('id')!r} has no prompt of which the last token could be looked at; give "
                    "records with a question and an answer."
                )
            last = (batch.labels != IGNORED).int().argmax(1)  # the position that predicts the answer's first token
            for layer, states in model.hidden(batch, layers).items():
                rows[layer].append(states[torch.arange(len(batch)), last].float().cpu())
            order.append(batch.index.cpu())
    places = torch.cat(order).argsort()
    return {layer: torch.cat(found)[places] for layer, found in rows.items()}


def scale(model: LanguageModel, examples: Sequence[Example], place: Place) -> tuple[float, int]:
    """(mean length, width) of the states at a place, over all tokens of the examples; padding is no token."""
    watched = _Watched()
    twin = steered(model, {place: watched})
    lengths: list[Tensor] = []
    with twin.evaluating():
        for batch in twin.batches(examples):
            twin.logits(batch)
            lengths.append(watched.states.float().norm(dim=-1)[batch.inputs["attention_mask"].bool()].cpu())
    return float(torch.cat(lengths).double().mean()), watched.states.shape[-1]


def universal(
    model: LanguageModel,
    examples: Sequence[Example],
    place: Place,
    radii: Sequence[float],
    *,
    steps: int,
    batch_size: int,
    seed: int,
) -> Iterator[tuple[Tensor, float]]:
    """(vector, attack loss) for each radius: one vector (D,) for all tokens, trained to make the answers likely.

    Adam on the mean token loss, its rate falling from a tenth of the radius to 0; after each step the vector is drawn
    back into the ball. Each radius starts from the best vector of the smaller ones, which stays the answer where
    nothing better is found: so the loss on the examples never rises with the radius.

    Args:
        model: The model; neither its weights nor their gradients and flags are touched.
        examples: What the attacker holds.
        place: Where the vector is added.
        radii: Greatest lengths of the vector, ascending, in mean lengths of the states at the place.
        steps: Steps per radius.
        batch_size: Examples per step.
        seed: Seed of the order of the examples.
    """
    unit, width = scale(model, examples, place)
    added = Added(torch.zeros(width, device=model.device))
    twin = steered(model, {place: added})
    best, least = added.vector.clone(), answer_nll(twin, examples)
    draws = stream([example.length for example in examples], batch_size, mix(seed, 53))
    for radius in radii:
        vector = added.vector = best.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([vector])
        for step in range(steps if radius else 0):
            rows = next(draws)
            batch = twin.collate([examples[row] for row in rows], rows).to(twin.device)
            loss = (twin.loss(batch) / twin.sizes(batch)).mean()
            (vector.grad,) = torch.autograd.grad(loss, [vector])
            # Adam moves every coordinate by about its rate: this is a tenth of the radius in length.
            optimizer.param_groups[0]["lr"] = 0.1 * radius * unit / len(vector) ** 0.5 * (1 - step / steps)
            optimizer.step()
            with torch.no_grad():
                vector.mul_((radius * unit / vector.norm().clamp(min=1e-12)).clamp(max=1.0))
        added.vector = vector.detach()
        if (reached := answer_nll(twin, examples)) < least:
            best, least = added.vector.clone(), reached
        yield best.clone(), least


def increasing(values: Sequence[float], what: str, named: str, least: float = 0.0) -> list[float]:
    """Strengths in ascending order, each once.

    Raises:
        InputError: If there is none, or one is below `least` or not finite.
    """
    if not values or any(not least <= value < float("inf") for value in values):
        raise InputError(f"{what}: {named} are {tuple(values)}; give one or more finite numbers of at least {least:g}.")
    return sorted(set(values))


class _Watched(nn.Module):
    """Keeps the states (B, T, D) of the last pass, and changes none."""

    def forward(self, states: Tensor) -> Tensor:
        self.states = states
        return states
