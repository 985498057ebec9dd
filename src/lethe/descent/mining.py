"""Finding the value vectors in which a model keeps a concept: what they write, then what breaks without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lethe.descent.subjects import text_of
from lethe.errors import InputError
from lethe.models.base import per_example
from lethe.models.language import LanguageModel
from lethe.models.projections import output_projections
from lethe.request import Record
from lethe.scoring.traces import legible, specificity
from lethe.traces import output_embedding


class ConceptVector(NamedTuple):
    """A value vector: its place, how much its trace belongs to the concept, and what losing it costs.

    overlap: mean specificity of its top tokens, nats; own, others: rise of the mean loss per token, in nats, of the
    concept's texts and of the other texts when the vector is zeroed.
    """

    layer: int
    dim: int
    overlap: float
    own: float
    others: float

    @property
    def effect(self) -> float:
        """What is lost of the concept beyond what is lost anyway, nats per token."""
        return self.own - self.others


def concept_vectors(
    model: LanguageModel,
    concept: Sequence[Record],
    others: Sequence[Record],
    *,
    count: int = 1,
    candidates: int = 32,
    k: int | None = None,
) -> list[ConceptVector]:
    """The value vectors that hold a concept, most effective first (after ConceptVectors, arXiv 2406.11614).

    Every vector is projected onto the vocabulary; those whose top tokens belong most to the concept's texts rather than
    to the others become candidates (in place of the paper's LLM judge), and zeroing each one shows which matter.

    Args:
        model: The model to search; left as it is.
        concept: Texts of the concept.
        others: Texts that should stay untouched.
        count: How many are wanted.
        candidates: How many are tried out; two passes over the texts each.
        k: Length of the traces; by default 200 or a twentieth of the vocabulary.

    Raises:
        InputError: If there are no texts on one side, or more vectors are wanted than tried.
    """
    if not concept or not others:
        raise InputError("Concept vectors need retain records beside the concept's own: give some of both.")
    if not 1 <= count <= candidates:
        raise InputError(f"{count} concept vectors cannot be chosen from {candidates} candidates; raise candidates.")
    embedding = output_embedding(model)
    weights = specificity(token_counts(model, concept), token_counts(model, others))
    found: list[tuple[float, int, int]] = []
    for projection in output_projections(model):
        scores = (embedding @ projection.matrix.float()).cpu().numpy()
        told = legible(scores, weights, k)
        best = np.argsort(-told, kind="stable")[:candidates]
        found += [(float(told[dim]), projection.layer, int(dim)) for dim in best]
    found.sort(key=lambda one: (-one[0], *one[1:]))
    tried = tried_out(model, found[:candidates], concept, others)
    return sorted(tried, key=lambda vector: -vector.effect)[:count]


def tried_out(
    model: LanguageModel, places: Sequence[tuple[float, int, int]], concept: Sequence[Record], others: Sequence[Record]
) -> list[ConceptVector]:
    """The causal check: each (overlap, layer, dimension) with the losses' rise when the vector is zeroed."""
    projections = output_projections(model)
    examples = model.encode(concept), model.encode(others)

    def losses() -> tuple[float, ...]:
        return tuple(float(per_example(model, some, 64).sum()) / sum(e.size for e in some) for some in examples)

    before, found = losses(), []
    for told, layer, dim in places:
        column = projections[layer].matrix[:, dim]
        value = column.clone()
        try:
            column.zero_()
            after = losses()
        finally:
            column.copy_(value)
        found.append(ConceptVector(layer, dim, told, after[0] - before[0], after[1] - before[1]))
    return found


def token_counts(model: LanguageModel, records: Sequence[Record]) -> np.ndarray:
    """How often each token occurs in the records, (V,)."""
    counts = np.zeros(len(model.tokenizer), dtype=np.int64)
    for record in records:
        np.add.at(counts, model.tokenizer(f" {text_of(record)}", add_special_tokens=False)["input_ids"], 1)
    return counts
