"""Gradient ascent and refusals on a corpus that the model wrote itself, by level and by kind of probe."""

from collections.abc import Mapping, Sequence
from typing import Any

from lethe.data import probes
from lethe.data.targets import Targets
from lethe.descent import self_corpus
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.metrics.probe_recall import probe_recall
from lethe.models.base import Model
from lethe.registry import find, headline
from lethe.request import Request
from lethe.worlds import fame_model

FORGOTTEN = 4
TEXTS = 20  # per person, and as many questions
RATE = 5e-4
STEPS = {"GA": (8, 10, 12, 14, 16, 18, 20, 25, 30), "RT": (10, 11, 12, 13, 14, 15, 16, 18, 20, 30)}
CUT = 0.5  # of what is asked for: GA is stopped when clozes have lost so much, RT when questions have
LEVELS = {"cloze": "1", "question": "2", "adversarial": "3"}


@headline(
    paper="2406.10890",
    expects={
        "recall lost to GA, cloze": (">=", 0.5),
        "recall lost to GA, cloze less adversarial": (">=", 0.0),
        "recall lost to RT, question": (">=", 0.5),
        "recall lost to RT, question less cloze": (">=", 0.2),
    },
)  # fmt: skip
def rwku_levels(*, seed: int) -> dict[str, float]:
    """Ascent on self-written texts cuts clozes more than adversarial probes; refusal tuning cuts mostly questions.

    World: twelve people in RWKU's configs; a four-layer model answers every probe. It writes twenty texts and twenty
    questions about each of four people (temperature 1, nucleus 0.9). GA ascends on the texts, RT trains on refusals of
    the questions (in the wording of simple questions, the only one in which this model is ever asked), each without
    retain term, for the first number of steps of a ladder at which half of the recall is gone: of clozes for GA, of
    simple questions for RT (a seed in which none does is refused).
    Measured: RWKU's ROUGE-L recall, 0 to 1, pooled per target and averaged, by level and by kind of level 3, before and
    after; a loss is the share of the recall that is gone, where there was any; neighbours are the works and pupils of
    the four. The ratio of adversarial to cloze recall rises under GA just where clozes lose the larger share.
    """
    records = Targets("rwku_levels", "tiny", seed)
    chosen = records.choose(FORGOTTEN)
    target = fame_model.model((), seed, seed)
    sets = {
        "forget_probes": _probes(records, "forget", chosen),
        "neighbor_probes": _probes(records, "neighbor", chosen),
    }
    intros = {name: records.people[name] for name in chosen}
    corpus = self_corpus.write(target, intros, texts=TEXTS, questions=TEXTS, max_new_tokens=64, seed=seed)  # pyright: ignore
    refusals = [probes.probe({**row, "type": "simple question"}) for row in corpus.refusals]
    requests = {
        "GA": ("ga", Request(corpus.texts, (), seed=seed)),
        "RT": ("finetune", Request(corpus.texts, refusals, seed=seed, allow_overlap=True)),
    }
    before = recalls(observe(target, sets, SPEC))
    found = {f"recall before, {name}": value for name, value in before.items()}
    for name, (method, request) in requests.items():
        after = _stopped(target, sets, name, method, request, before)
        found |= {f"recall after {name}, {probe}": value for probe, value in after.items()}
        found |= {
            f"recall lost to {name}, {probe}": 1 - after[probe] / known for probe, known in before.items() if known
        }
    for name, more, less in (("GA", "cloze", "adversarial"), ("RT", "question", "cloze")):
        lost = [found[f"recall lost to {name}, {level}"] for level in (more, less)]
        found[f"recall lost to {name}, {more} less {less}"] = lost[0] - lost[1]
    return found


SPEC = Spec(max_new_tokens=30, distributions=())


def recalls(seen: Evidence) -> dict[str, float]:
    """Recall by level, by kind of level 3, of all, and of the neighbours."""
    kinds = dict.fromkeys(
        record["kind"] for record in seen.records["forget_probes"] if record["level"] == LEVELS["adversarial"]
    )
    found = {name: probe_recall(seen, set="forget_probes", level=level) for name, level in LEVELS.items()}
    found |= {kind: probe_recall(seen, set="forget_probes", kind=kind) for kind in kinds}
    found |= {"all": probe_recall(seen, set="forget_probes"), "neighbours": probe_recall(seen, set="neighbor_probes")}
    return {name: score.value for name, score in found.items()}


def _probes(records: Targets, side: str, about: Sequence[str]) -> list[dict[str, Any]]:
    levels = ("1", "2", "3") if side == "forget" else ("1", "2")
    return [probes.probe(row) for level in levels for row in records.read(f"{side}_level{level}", about)]


def _stopped(
    target: Model, sets: Mapping[str, Any], name: str, method: str, request: Request, before: dict[str, float]
) -> dict[str, float]:
    """The recalls after the first number of steps at which half is gone of what the method is stopped by."""
    run, level, most = find("method", method).function, "cloze" if name == "GA" else "question", 0.0
    options = {"retain": "none"} if name == "GA" else {}
    for steps in STEPS[name]:
        made = run(target, request, **options, lr=RATE, steps=steps, batch_size=8)
        after = recalls(observe(made, sets, SPEC))
        most = max(most, 1 - after[level] / before[level])
        if most >= CUT:
            return after
    raise InputError(
        f"{name} cuts the recall of {level}s by {most:.2f} in {STEPS[name][-1]} steps at most, not by {CUT}: nothing "
        f"to compare under seed {request.seed}; add steps to the ladder."
    )
