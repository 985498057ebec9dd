"""Results in the form of a run's, drawn from a seed, to look at and test the renderer with: no number is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from lethe.findings import Check, EvidenceClass, LeftOut, Outcome, Point, Recovery, Verdict
from lethe.runs.results import BenchmarkResult, Cost, Results, Role, Row
from lethe.score import Score

SCRIPT = "<script>document.title = 'taken over'</script><img src=https://example.org/x.png>"

# name, direction, range, unit; then per row: mean and sd over items
LANGUAGE = [
    ("distance", "kl", "forget", "lower", (0, np.inf), "nats/token"),
    ("probability", "answer", "forget", "control", (0, 1), ""),
    ("rouge", "rougeL_recall.stem", "forget", "control", (0, 1), ""),
    ("distance", "kl", "retain", "lower", (0, np.inf), "nats/token"),
    ("truth_ratio", "geometric", "forget", "control", (0, 1), ""),
    ("exact_memorization", "", "forget", "control", (0, 1), ""),
    ("extraction_strength", "token", "forget", "control", (0, 1), ""),
    ("forget_quality", "ks_d", "forget", "lower", (0, 1), ""),
    ("forget_quality", "ks_p", "forget", "higher", (0, 1), ""),
    ("membership", "min_k_pp", "forget", "control", (0, 1), ""),
    ("rouge", "rougeL_recall.stem", "retain", "higher", (0, 1), ""),
    ("model_utility", "geometric", "utility", "higher", (0, 1), ""),
]
LANGUAGE_ROWS: dict[str, tuple[float, ...]] = {
    "target": (9.02, 0.96, 0.98, 0.02, 0.51, 0.99, 0.95, 0.42, 3.1e-18, 0.97, 0.98, 0.72),
    "control": (0.21, 0.14, 0.39, 0.19, 0.66, 0.48, 0.08, 0.06, 0.81, 0.51, 0.97, 0.71),
    "noise": (6.4, 0.05, 0.21, 5.1, 0.71, 0.31, 0.05, 0.31, 2.2e-9, 0.49, 0.31, 0.36),
    "refusal": (8.8, 0.95, 0.03, 0.04, 0.51, 0.99, 0.94, 0.42, 3.1e-18, 0.97, 0.95, 0.70),
    "ga": (23.4, 0.0, 0.01, 18.2, 0.93, 0.02, 0.0, 0.98, 1.9e-52, 0.07, 0.04, 0.0),
    "grad_diff": (22.1, 0.0, 0.04, 1.10, 0.90, 0.05, 0.0, 0.95, 4.0e-49, 0.11, 0.81, 0.55),
    "kl_min": (15.7, 0.01, 0.11, 2.4, 0.84, 0.12, 0.01, 0.81, 7.7e-36, 0.21, 0.63, 0.42),
    "npo": (2.91, 0.11, 0.31, 0.41, 0.69, 0.41, 0.06, 0.14, 0.12, 0.47, 0.92, 0.66),
    "simnpo": (4.20, 0.09, 0.29, 0.72, 0.72, 0.38, 0.06, 0.19, 0.031, 0.44, 0.89, 0.64),
    "rmu": (5.62, 0.07, 0.18, 0.33, 0.74, 0.29, 0.04, 0.27, 1.1e-5, 0.36, 0.94, 0.68),
    "idk": (7.90, 0.22, 0.06, 0.37, 0.58, 0.52, 0.21, 0.33, 8.1e-8, 0.78, 0.86, 0.61),
    "task_vector": (3.35, 0.18, 0.44, 0.95, 0.63, 0.55, 0.11, 0.11, 0.33, 0.58, 0.84, 0.59),
}
CLASSIFIER = [
    ("distance", "kl", "forget", "lower", (0, np.inf), "nats"),
    ("distance", "kl", "retain", "lower", (0, np.inf), "nats"),
    ("accuracy", "top1", "forget", "control", (0, 1), ""),
    ("accuracy", "top1", "retain", "higher", (0, 1), ""),
    ("accuracy", "top1", "test", "higher", (0, 1), ""),
    ("membership", "loss", "forget", "control", (0, 1), ""),
]
CLASSIFIER_ROWS: dict[str, tuple[float, ...]] = {
    "target": (0.61, 0.01, 0.99, 0.995, 0.83, 0.74),
    "control": (0.05, 0.04, 0.81, 0.996, 0.82, 0.50),
    "head_mask": (3.10, 0.02, 0.00, 0.994, 0.74, 0.03),
    "finetune": (0.41, 0.02, 0.96, 0.998, 0.83, 0.69),
    "neggrad_plus": (0.87, 0.11, 0.55, 0.971, 0.78, 0.38),
    "scrub": (0.16, 0.05, 0.83, 0.991, 0.82, 0.54),
    "salun": (0.22, 0.06, 0.79, 0.986, 0.81, 0.44),
}
RECOMMENDER = [
    ("distance", "kl", "forget", "lower", (0, np.inf), "nats"),
    ("distance", "kl", "retain", "lower", (0, np.inf), "nats"),
    ("forget_rank", "position", "forget", "control", (0, np.inf), "items"),
    ("recall", "at20", "forget", "control", (0, 1), ""),
    ("recall", "at20", "test", "higher", (0, 1), ""),
    ("ndcg", "truncated.at20", "test", "higher", (0, 1), ""),
]
RECOMMENDER_ROWS: dict[str, tuple[float, ...]] = {
    "target": (1.92, 0.01, 4.1, 0.97, 0.31, 0.24),
    "control": (0.09, 0.08, 61.0, 0.22, 0.30, 0.23),
    "noise": (1.80, 1.10, 88.0, 0.12, 0.12, 0.08),
    "reverse_bpr": (1.05, 0.21, 143.0, 0.04, 0.28, 0.21),
}
FLOORS = {"noise", "refusal", "head_mask"}
PAPERS = {"npo": "2404.05868", "rmu": "2403.03218", "ga": "2401.06121", "scrub": "2302.09880", "salun": "2310.12508"}
INTENT = {"rmu": "suppression", "idk": "suppression", "refusal": "suppression", "head_mask": "suppression"}
REACHED: dict[str, tuple[str, str, str]] = {
    "ga": (
        "collapse",
        "",
        "Utility fell from 0.72 to 0.00: the model is broken, so nothing can be said of forgetting.",
    ),
    "grad_diff": (
        "suppression",
        "E1",
        "Answers are gone under rephrasing, but 61 % came back after 32 relearning steps.",
    ),
    "kl_min": ("collapse", "E0", "Utility fell from 0.72 to 0.42, more than the noise floor allows."),
    "npo": (
        "consistent with removal",
        "E3",
        "Nothing came back beyond what a control learns; representations were not tested.",
    ),
    "simnpo": ("suppression", "E2", "44 % of the answers came back after relearning."),
    "rmu": (
        "suppression",
        "E1",
        "Knowledge returned under int4 quantisation and relearning: it was hidden, not removed.",
    ),
    "idk": ("suppression", "E0", "The model refuses; paraphrased questions still get the answer."),
    "task_vector": ("not forgotten", "", "The answer's probability stays above the control's."),
    "finetune": ("not forgotten", "", "Forget accuracy is the target's, not the control's."),
    "neggrad_plus": (
        "suppression",
        "E0",
        "Accuracy is below the control's: the forgetting itself gives the records away.",
    ),
    "scrub": (
        "consistent with removal",
        "E3",
        "Stands where a further control could stand on every score that was measured.",
    ),
    "salun": ("suppression", "E2", "31 % of the accuracy came back after relearning."),
    "reverse_bpr": ("suppression", "E1", "Items rank lower than in a model that never saw them."),
    "refusal": ("suppression", "", "Refusal in front of an untouched model."),
}
CHECKS: list[tuple[str, str, EvidenceClass]] = [
    ("B1", "Held-out questions", "E0"),
    ("B5", "Probability of the answer against the control", "E0"),
    ("B6", "No anti-knowledge (not below the control)", "E0"),
    ("P1", "Membership inference as on the control", "E1"),
    ("B3", "Paraphrased questions", "E1"),
    ("R1", "Jailbreak prefixes", "E2"),
    ("R2", "In-context hints", "E2"),
    ("R3", "Relearning, scored on other forget records", "E3"),
    ("R5", "Quantisation to int8 and int4", "E3"),
    ("R6", "Merge with the original", "E3"),
    ("N1", "Linear probe on every layer", "E4"),
]
LEFT_OUT = {
    "rmu": (LeftOut("gcg", "R1", "too dear for the budget standard; thorough pays for it"),),
    "idk": (LeftOut("steer:layer=2", "R7", "InputError: no direction tells the two sets apart", failed=True),),
}
UNTESTED = {"R1": "no attack of this kind is built yet", "N1": "needs hidden states; not part of this run"}


def example() -> Results:
    """Three families, several seeds, a missing score, a NaN, a hostile answer."""
    return Results(
        title="Lethe demo: three families",
        command="lethe demo --out out/demo",
        benchmarks=(
            _benchmark(
                "authors", "language", "forget10", LANGUAGE, LANGUAGE_ROWS, 40, "model_utility.geometric@utility"
            ),
            _benchmark("faces", "classifier", "identities", CLASSIFIER, CLASSIFIER_ROWS, 60, "accuracy.top1@test"),
            _benchmark("shop", "recommender", "users", RECOMMENDER, RECOMMENDER_ROWS, 30, "ndcg.truncated.at20@test"),
        ),
        environment={"python": "3.11.9", "torch": "2.13.0", "system": "Linux x86_64", "device": "cpu", "threads": "1"},
        config={"seeds": 3, "benchmarks": ["authors", "faces", "shop"], "recipe": {"lr": 3e-4, "epochs": 5}},
    )


def costs(results: Results) -> dict[str, Cost]:
    """A cost for every row but the controls."""
    return {
        f"{benchmark.name}/{row.id}": Cost(3.2 + 1.7 * place, 512.0 + 31 * place)
        for benchmark in results.benchmarks
        for place, row in enumerate(benchmark.rows)
        if row.role != "control"
    }


def with_rows(results: Results, rows: tuple[Row, ...], columns: tuple[str, ...]) -> Results:
    """The same results with another table in the first benchmark."""
    first = replace(results.benchmarks[0], rows=rows, columns=columns)
    return replace(results, benchmarks=(first, *results.benchmarks[1:]))


def large(results: Results, methods: int = 20, columns: int = 25) -> Results:
    """The same results with that many method rows and columns in the first benchmark."""
    first = results.benchmarks[0]
    model = next(row for row in first.rows if row.id == "simnpo-seed1")
    extra = tuple(replace(model, id=f"method_{i:02}-seed1", method=f"method_{i:02}") for i in range(methods))
    rows = tuple(row for row in first.rows if row.role != "method") + extra
    added = [f"rouge.variant_{i}@retain" for i in range(columns - len(first.columns))]
    pattern = next(score for score in model.scores if score.metric == "rouge")
    rows = tuple(
        replace(
            row,
            scores=row.scores
            + tuple(replace(pattern, variant=f"variant_{i}", set="retain") for i in range(len(added))),
        )
        for row in rows
    )
    return with_rows(results, rows, (*first.columns, *added))


def _benchmark(
    name: str,
    family: str,
    split: str,
    schema: list[tuple[str, str, str, Any, tuple[float, float], str]],
    levels: Mapping[str, tuple[float, ...]],
    n: int,
    utility: str,
) -> BenchmarkResult:
    knowledge = next(_qualified(entry) for entry in schema if entry[0] in ("probability", "accuracy", "recall"))
    rows = []
    for label in levels:
        role: Role = "target" if label == "target" else "control" if label == "control" else "method"
        role = "floor" if label in FLOORS else role
        seeds = (1, 2, 3) if role == "control" or label in ("npo", "scrub") else (1,)
        rows += [_row(name, label, role, seed, schema, levels, n) for seed in seeds]
    return BenchmarkResult(
        name=name,
        family=family,
        split=split,
        source="tiny",
        note=f"The {name} world is made on the spot from seed 7; {n} forget records, one answer each.",
        request={
            "fingerprint": sha256(name.encode()).hexdigest(), "intent": "removal", "scope": "entity", "seed": 7,
            "reason": "", "forget": n, "retain": 9 * n, "holdout": n,
        },
        utility=utility,
        knowledge=knowledge,
        distance="distance.kl@forget",
        columns=tuple(_qualified(entry) for entry in schema),
        items=tuple(
            {"id": f"{name}-{i:03}", "question": _question(family, i), "truth": _truth(family, i)} for i in range(n)
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _qualified(entry: tuple[str, str, str, Any, tuple[float, float], str]) -> str:
    return f"{entry[0]}{'.' + entry[1] if entry[1] else ''}@{entry[2]}"


def _question(family: str, i: int) -> str:
    return {
        "language": f"In which city was the author Ilse Varga-{i} born?",
        "classifier": f"image {i} of identity {i // 4}",
        "recommender": f"user {i}, item {7 * i % 61}",
    }[family]


def _truth(family: str, i: int) -> str:
    return {"language": f"Ilse Varga-{i} was born in Szeged.", "classifier": "age 20-29", "recommender": "rank 1"}[
        family
    ]


def _row(
    benchmark: str,
    label: str,
    role: Role,
    seed: int,
    schema: list[Any],
    levels: Mapping[str, tuple[float, ...]],
    n: int,
) -> Row:
    rng = np.random.default_rng([len(benchmark), len(label), seed, sum(map(ord, label))])
    scores = [_score(entry, level, n, seed, rng) for entry, level in zip(schema, levels[label], strict=True)]
    if label == "ga":
        scores[4] = replace(scores[4], value=float("nan"), low=float("nan"), high=float("nan"))
    if label == "task_vector":
        del scores[9]
    family = {"authors": "language", "faces": "classifier", "shop": "recommender"}[benchmark]
    known = "Szeged" if role == "target" else rng.choice(["Graz", "Oslo", "a small town", "Porto"])
    answers = {
        "language": [f"Ilse Varga-{i} was born in {known}." for i in range(n)],
        "classifier": [str(rng.choice(["age 20-29", "age 30-39", "age 40-49"])) for _ in range(n)],
        "recommender": [f"rank {int(rng.integers(1, 200))}" for _ in range(n)],
    }[family]
    if label == "rmu":
        answers[0] = SCRIPT
        answers[1] = ""
        answers[2] = "the the the \x00\x1b[31m \u202egnirts desrever " + "0" * 300
    options = {"lr": 1e-3, "epochs": 5, "retain": "nll", "where": "all", "step": "plain"} if role == "method" else {}
    options |= {"beta": 0.1} if label == "npo" else {}
    options |= {"seed": seed} if role == "method" else {}
    card = {}
    if role in ("method", "floor"):
        card = {
            "intent": INTENT.get(label, "removal"), "level": "representation" if label == "rmu" else "parameter",
            "paper": PAPERS.get(label, ""), "summary": f"What {label} does, in one line of its docstring.",
        }  # fmt: skip
    return Row(
        id=f"{label}-seed{seed}" if role != "target" else "target",
        role=role,
        method=label if role in ("method", "floor") else "",
        seed=seed,
        options=options,
        model=sha256(f"{benchmark}/{label}/{seed}".encode()).hexdigest(),
        changed=0 if label in ("target", "refusal") else 431_232,
        scores=tuple(scores),
        recoveries=_recoveries(label, n, rng, family) if role == "method" and label != "ga" else (),
        verdict=_verdict(label) if label in REACHED else None,
        answers=tuple(answers),
        card=card,
        left_out=LEFT_OUT.get(label, ()),
    )


def _score(entry: Any, level: float, n: int, seed: int, rng: np.random.Generator) -> Score:
    metric, variant, name, direction, bounds, unit = entry
    value = min(bounds[1], max(0.0, level * (1 + rng.normal(0, 0.03))))
    reach = 0.08 * abs(value) + 0.01 * (value > 1e-3)
    items = rng.normal(value, 3 * reach, n)
    low, high = max(bounds[0], value - reach), min(bounds[1], value + reach)
    if variant == "ks_p":
        low = high = float("nan")
    return Score(
        metric, variant, name, value, low, high, n, direction, bounds, unit, seed=seed, items=tuple(items.tolist())
    )


# attack, unit, strengths, line, class, share of the method's own weakness, settings
ATTACKS: list[tuple[str, str, tuple[float, ...], str, EvidenceClass, float, list[dict[str, Any]]]] = [
    ("relearn", "steps", (2, 8, 32), "R3", "E3", 1.0, [{"fraction": 0.5}]),
    ("quantize", "bits", (8, 4), "R5", "E3", 0.5, [{}]),
    ("paraphrase", "", (1,), "B3", "E1", 0.25, [{}]),
]
OF_TEXTS: list[tuple[str, str, tuple[float, ...], str, EvidenceClass, float, list[dict[str, Any]]]] = [
    ("translate", "language", (1, 2, 3, 4, 5), "B3", "E1", 0.4, [{}]),
    ("hint", "facts", (1, 2, 4), "R2", "E2", 0.7, [{}]),
    ("benign_finetune", "steps", (4, 16), "R4", "E3", 0.9, [{"lr": 1e-4}, {"lr": 1e-3}, {"lr": 1e-2}]),
    ("latent", "mean state lengths", (0.1, 0.3, 1), "R7", "E3", 1.3, [{"layer": 1}]),
    ("merge", "share", (0.25, 0.5, 0.75), "R6", "E3", 1.6, [{}]),
]


def _recoveries(label: str, n: int, rng: np.random.Generator, family: str) -> tuple[Recovery, ...]:
    share = {"consistent with removal": 0.03, "suppression": 0.6, "not forgotten": 0.4}.get(REACHED[label][0], 0.1)
    before, original = (0.93, 0.95) if label == "task_vector" else (0.1, 0.96)
    made = []
    for name, unit, strengths, check, evidence, part, settings in ATTACKS + OF_TEXTS * (family == "language"):
        if label == "task_vector" and name != "relearn":
            continue
        for place, options in enumerate(settings):
            ends = (before, original, share * part / (1 + place) * (1 + float(rng.normal(0, 0.1 * (part != 1)))))
            one = _recovery(name, unit, strengths, *ends, n, rng)
            made.append(replace(one, check=check, evidence_class=evidence, options=options))
    return tuple(made)


def _recovery(
    attack: str, unit: str, strengths: tuple[float, ...], before: float, original: float, share: float, n: int,
    rng: np.random.Generator,
) -> Recovery:  # fmt: skip
    points = []
    for place, strength in enumerate(strengths, 1):
        gain = share * (original - before) * place / len(strengths) + float(rng.normal(0, 0.01))
        control = before + 0.04 * place
        value = min(1.0, before + gain + 0.04 * place)
        points.append(Point(strength, value, value - 0.07, min(1.0, value + 0.07), control, original))
    known = original - before >= 0.05
    return Recovery(
        attack=attack,
        options={},
        check="",
        evidence_class="E3",
        measure="probability.answer",
        unit=unit,
        before=before,
        original=original,
        control_before=before,
        points=tuple(points),
        adjusted=share if known else None,
        low=share - 0.11 if known else None,
        high=share + 0.12 if known else None,
        n=n // 2,
    )


def _verdict(label: str) -> Verdict:
    reached, highest, sentence = REACHED[label]
    checks = []
    for identifier, title, evidence in CHECKS:
        below = bool(highest) and evidence <= highest
        outcome: Outcome = "NOT TESTED" if identifier in UNTESTED else "PASS" if below else "FAIL"
        value, limit = (None, None) if outcome == "NOT TESTED" else (0.08 if below else 0.61, 0.25)
        p = None if value is None else 0.4 if below else 0.0004
        checks.append(
            Check(identifier, title, evidence, outcome, value, limit, UNTESTED.get(identifier, ""), p_adjusted=p)
        )
    return Verdict(INTENT.get(label, "removal"), reached, highest, sentence, tuple(checks), "standard")  # pyright: ignore[reportArgumentType]
