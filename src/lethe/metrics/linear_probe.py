"""What a linear probe reads of the forgotten answers from the hidden states."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import metric
from lethe.score import Score, score_of_items
from lethe.scoring.probing import answer_vectors, best_probe, label_vectors, read_out

Variant = Literal["selectivity", "accuracy", "prompt.selectivity"]
OTHERS = 5  # answers to similar questions that stand in for wrong ones


@metric(families={"language", "classifier"}, paper="1909.03368", variants=get_args(Variant))
def linear_probe(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    beside: str = "retain",
    variant: Variant = "selectivity",
) -> Score:
    """How much better a linear probe tells right from wrong answers than under random labels; the control's is ideal.

    A ridge regression per layer, from the states to which trigrams of characters stand in the answer (of a classifier,
    to the label), trained on other entities and scored by the share of wrong options below the right one. The best of
    all layers, and of training on the set's other entities alone or with those of `beside`; the random labels take the
    best of as many. `detail` has the p-value and the profile. Probes find what is linearly there even in a model that
    never knew: read it beside a control (arXiv 2506.09227, N1).

    Args:
        set: Records that are tested, named in `Spec.interior`; wrong options are their perturbed answers or choices,
            without these the answers to the most similar questions about others.
        beside: Further records to train on, named in `Spec.interior`; "" for none.
        variant: selectivity: accuracy less that under random labels, read where right and wrong answers part, or at the
            end of the prompt where the records have no wrong answers; prompt.selectivity: always at the end of the
            prompt; accuracy: 0 to 1, chance is about a half.

    Raises:
        InputError: If hidden states were not observed, or the records are of fewer than three entities.
    """
    sets = [set, *([beside] if beside not in ("", set) else [])]
    parted = variant != "prompt.selectivity" and all(f"{name}.parting" in evidence.interior for name in sets)
    states = np.concatenate([evidence.inside(name, "parting" if parted else "hidden") for name in sets])
    blocks = states[:, 1:] if evidence.family == "language" else states  # embeddings tell of the last token alone
    groups = [group for name in sets for group in _entities(evidence, name)]
    tested = np.arange(len(states)) < len(evidence.column(set, "id"))
    trainings = {"+".join(sets): None, set: tested}
    weights = [one for trained in trainings.values() for one in read_out(blocks, groups, tested, trained)]
    if evidence.family == "classifier":
        if any("labels" in record for name in sets for record in evidence.records[name]):
            raise InputError(
                "linear_probe reads one class per record, and these have several labels; probe one of them."
            )
        vectors = label_vectors([label for name in sets for label in evidence.column(name, "label")])
    else:
        vectors = answer_vectors(_options(evidence, sets, groups))
    found = best_probe(weights, vectors, tested)
    trained, layer = divmod(found.best, blocks.shape[1])
    items = found.hits if variant == "accuracy" else found.hits - found.null
    return score_of_items(
        "linear_probe", items, variant=variant, set=set, direction="control",
        range=(0, 1) if variant == "accuracy" else (-1, 1), layer=layer + states.shape[1] - blocks.shape[1],
        trained_on=list(trainings)[trained], read_at="parting" if parted else "prompt",
        accuracy=float(found.hits.mean()), null=found.null, p=found.p, profile=found.profile.tolist(),
    )  # fmt: skip


def _entities(evidence: Evidence, name: str) -> list[Any]:
    """Whom each record is about; a record that does not say is about nobody else."""
    columns = [evidence.column(name, field) for field in ("entity", "identity", "id")]
    return [
        next((value for value in row if value is not None), (name, i))
        for i, row in enumerate(zip(*columns, strict=True))
    ]


def _options(evidence: Evidence, sets: Sequence[str], entities: Sequence[Any]) -> list[list[str]]:
    """The right answer and equally many wrong ones of every record, all in the words of the wrong ones."""
    rows = [row for name in sets for row in _offered(evidence, name)]
    asked = [frozenset(str(text).lower().split()) for name in sets for text in evidence.column(name, "question")]
    for i, row in enumerate(rows):
        if len(row) == 1:
            others = [j for j, who in enumerate(entities) if who != entities[i] and rows[j][0] != row[0]]
            others.sort(key=lambda j: -len(asked[i] & asked[j]) / max(len(asked[i] | asked[j]), 1))
            rows[i] = [*row, *list(dict.fromkeys(rows[j][0] for j in others))[:OTHERS]]
    width = min(map(len, rows))
    if width < 2:
        raise InputError("linear probe: all answers are the same; give the records wrong ones as perturbed_answer.")
    return [row[:width] for row in rows]


def _offered(evidence: Evidence, name: str) -> list[list[str]]:
    """The right answer, and the wrong ones that the records of a set hold."""
    right = [str(text) for text in evidence.column(name, "answer")]
    if evidence.has(name, "perturbed"):
        said = evidence.column(name, "paraphrased_answer") if evidence.has(name, "paraphrase") else right
        wrong = evidence.column(name, "perturbed_answer")
        return [[str(own), *map(str, others)] for own, others in zip(said, wrong, strict=True)]
    if evidence.has(name, "choices"):
        offered = evidence.column(name, "choices")
        return [[own, *(str(one) for one in texts if one != own)] for own, texts in zip(right, offered, strict=True)]
    return [[own] for own in right]
