"""What is left of a concept's value vector."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.descent.mining import concept_vectors, token_counts
from lethe.models.language import LanguageModel
from lethe.models.projections import output_projections
from lethe.registry import find, headline
from lethe.request import Record, Request
from lethe.scoring.traces import Trace, specificity, trace
from lethe.traces import output_embedding
from lethe.worlds import forms

COUNT = 8  # value vectors of the concept
NEEDLES = (0, 2, 4, 8, 16, 32, 64, 128, 256)  # passes of Needle's ascent
STEPS = (2, 4, 6, 8, 10, 12, 15, 20, 30, 50)
RATE = 3e-4
RELEARNING = (1, 2, 4, 8, 16, 32, 64)
MATCHED = 0.5  # share of the answers' probability that both lose, at least


@headline(
    paper="2406.11614",
    expects={
        **{f"drop of {name}, counted up to {MATCHED:g}": (">=", MATCHED) for name in ("GA", "Needle")},
        "lost trace of Needle over GA": (">=", 3.0),
        "jaccard after GA": (">=", 0.5),
        "jaccard after Needle": ("<=", 0.2),
    },
)
def needle_trace(*, seed: int) -> dict[str, float]:
    """When half of the answers are lost, ascent leaves a concept's value vectors readable and Needle does not.

    World: twenty people x four facts in three forms. The concept is one person; its eight value vectors are mined
    from the target (projection on the vocabulary, overlap with the person's tokens, what zeroing costs). Needle
    obfuscates them with noise of six times their length and goes on by masked ascent, GA moves all weights; each until
    it has lost half of the answers' probability (the first rung of a ladder that has; the last where none has).
    Rungs overshoot by their own amounts, so what is expected of a drop is counted up to that half.
    Measured: Jaccard of the vectors' top tokens before and after, mean over the eight (the lost trace is 1 less
    that); cosine; the best overlap that mining the edited model again still finds, over that of the target; steps of
    relearning on two of the four facts until the other two stand at 80 % of the target again (128: not in 64).
    """
    target = forms.model(seed)
    person = forms.people(seed=0)[seed % forms.PEOPLE].id
    own, others = forms.records("all", only=[person]), forms.records("all", without=[person])
    request = Request(own, others, seed=seed, allow_overlap=True)
    assert isinstance(target, LanguageModel)
    vectors = concept_vectors(target, own, others, count=COUNT, candidates=48)
    places = [(vector.layer, vector.dim) for vector in vectors]
    named = tuple(f"{layer}:{dim}" for layer, dim in places)
    ascents = {"GA": [("ga", {"lr": RATE, "steps": n, "batch_size": 12}) for n in STEPS]}
    ascents["Needle"] = [("needle", {"vectors": named, "ascent_epochs": n}) for n in NEEDLES]

    found: dict[str, float] = {}
    for name, ladder in ascents.items():
        forgotten = _first(target, request, ladder)
        traces = _traces(target, forgotten, places, request)
        drop = forms.drops(target, forgotten, {"own": own, "others": others})
        found |= {
            f"drop of {name}": drop["own"],
            f"drop of {name}, counted up to {MATCHED:g}": min(drop["own"], MATCHED),
            f"neighbour drop of {name}": drop["others"],
            f"jaccard after {name}": float(np.mean([one.jaccard for one in traces])),
            f"cosine after {name}": float(np.mean([one.cosine for one in traces])),
            f"best overlap left after {name}": _best(forgotten, own, others) / max(v.overlap for v in vectors),
            f"relearning steps of {name}": _relearning(target, forgotten, person),
        }
    lost = {name: 1 - found[f"jaccard after {name}"] for name in ascents}
    found["lost trace of Needle over GA"] = lost["Needle"] / max(lost["GA"], 1e-3)
    found["relearning steps of Needle over GA"] = found["relearning steps of Needle"] / found["relearning steps of GA"]
    return found


def _first(target: Any, request: Request, ladder: Sequence[tuple[str, dict[str, Any]]]) -> Any:
    forgotten = target
    for method, options in ladder:
        forgotten = find("method", method).function(target, request, **options)
        if forms.drops(target, forgotten, {"own": request.forget})["own"] >= MATCHED:
            break
    return forgotten


def _traces(
    before: LanguageModel, after: LanguageModel, places: list[tuple[int, int]], request: Request
) -> list[Trace]:
    old, new = output_projections(before), output_projections(after)
    embedding, later = output_embedding(before).numpy(), output_embedding(after).numpy()
    weights = specificity(token_counts(before, request.forget), token_counts(before, request.retain))
    own = set(np.flatnonzero(weights).tolist())
    return [
        trace(
            embedding,
            old[layer].matrix[:, dim].numpy(),
            new[layer].matrix[:, dim].numpy(),
            embedding_after=later,
            own=own,
        )
        for layer, dim in places
    ]


def _best(model: LanguageModel, own: Sequence[Record], others: Sequence[Record]) -> float:
    """The best overlap of any vector with the concept."""
    return max(vector.overlap for vector in concept_vectors(model, own, others, count=8, candidates=8))


def _relearning(target: Any, forgotten: Any, person: str) -> float:
    """Steps of fine-tuning on two facts until the other two are answered as before, to 80 %; the last where never."""
    taught, asked = [], []
    for record in forms.records("all", only=[person]):
        (taught if record["id"].split("-")[1] in ("birthplace", "award") else asked).append(record)
    relearn = find("method", "finetune").function
    wanted = 0.8 * forms.probability(target, asked)
    for steps in RELEARNING:
        taught_again = relearn(
            forgotten, Request(taught, taught, allow_overlap=True), lr=RATE, steps=steps, batch_size=6
        )
        if forms.probability(taught_again, asked) >= wanted:
            return float(steps)
    return float(2 * RELEARNING[-1])
