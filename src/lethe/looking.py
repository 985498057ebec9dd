"""The passes that `lethe.evidence.observe` makes over a model: texts, answers, samples, gradients.

A text is one record as the model reads it. Distinct texts are numbered and looked at once, whatever sets, roles and
metrics share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lethe.data.content import digest
from lethe.errors import InputError
from lethe.models.base import IGNORED, Batch, Example, Model, gradient_norms
from lethe.request import Record

Probes = Mapping[str, Sequence[Record]]
SAID = ("question", "answer", "text", "raw_prompt", "answer_prefix", "turns")  # the fields that make a text
UNTRAINED = 15_485_863  # added to the seed: no draw that a model may have started from
TOKEN_FIELDS = ("logp", "hit", "mean", "std", "rank")
SCORES_HELD = 2**21  # of a catalogue times the users ranked at a time; a few arrays of that size are held


def numbered(records: Sequence[Record], texts: dict[str, tuple[int, Record]]) -> dict[str, np.ndarray]:
    """Numbers of a set's texts by role, (N,) or (N, K); texts not seen before are added to `texts`.

    Raises:
        InputError: If the records offer different numbers of choices.
    """

    def number(record: Record) -> int:
        key = digest({k: v for k, v in record.items() if k in SAID} or record)
        return texts.setdefault(key, (len(texts), record))[0]

    roles = {"answer": np.array([number(record) for record in records])}
    if records and all("paraphrased_answer" in record for record in records):
        roles["paraphrase"] = np.array([number({**r, "answer": r["paraphrased_answer"]}) for r in records])
    if records and all("perturbed_answer" in record for record in records):
        rows = [[number({**r, "answer": wrong}) for wrong in r["perturbed_answer"]] for r in records]
        width = min(len(row) for row in rows)
        roles["perturbed"] = np.array([row[:width] for row in rows])
    if records and all("choices" in record and "key" in record for record in records):
        if len({len(record["choices"]) for record in records}) > 1:
            raise InputError("The records of one set offer different numbers of choices; make each number a set.")
        roles["choices"] = np.array([[number({**r, "answer": one}) for one in r["choices"]] for r in records])
    for role in records[0].get("derived", {}) if records else ():
        rows = [record["derived"][role] for record in records]
        roles[role] = np.array([number(r) if isinstance(r, Mapping) else [number(one) for one in r] for r in rows])
    return roles


def better(scores: Tensor, labels: Tensor) -> Tensor:
    """Which of the options (M, V) stand before the labelled one (M, 1); the sum is its rank, 0 the best.

    Ties go to the lower id: equal scores are no knowledge.
    """
    own = scores.gather(-1, labels)
    lower = torch.arange(scores.shape[-1], device=scores.device) < labels
    return (scores > own) | ((scores == own) & lower)


def tokens(model: Model, batch: Batch) -> Iterator[tuple[int, dict, Tensor]]:
    """Per text of the batch: its number, its token quantities and its log-probabilities (n, V)."""
    scored = batch.labels != IGNORED
    logits = model.logits(batch)[scored].float()  # (M, V): prompts and padding cost nothing from here on
    labels = batch.labels[scored][:, None]
    logp_all = logits.log_softmax(-1)
    p = logp_all.exp()
    mean = (p * logp_all).sum(-1)
    std = ((p * logp_all.square()).sum(-1) - mean.square()).clamp(min=0).sqrt()
    rank = better(logits, labels).sum(-1)
    found = {
        "logp": logp_all.gather(-1, labels).squeeze(-1).cpu().numpy(),
        "hit": (rank == 0).cpu().numpy(),
        "mean": mean.cpu().numpy(),
        "std": std.cpu().numpy(),
        "rank": rank.to(torch.int32).cpu().numpy(),
    }
    ends = np.cumsum(scored.sum(-1).cpu().numpy())
    for number, start, end in zip(batch.index.tolist(), [0, *ends[:-1]], ends, strict=True):
        yield number, {name: values[start:end] for name, values in found.items()}, logp_all[start:end]


def left_out(probes: Probes) -> dict[int, list[int]]:
    """Items left out of each user's ranking: those of the retain set, the same for every model that is compared."""
    excluded: dict[int, list[int]] = {}
    for record in probes.get("retain", ()):
        excluded.setdefault(int(record["user"]), []).append(int(record["item"]))
    return excluded


def rankings(
    model: Any, examples: Sequence[Example], excluded: Mapping[int, list[int]], top: int, lists: dict[str, np.ndarray]
) -> Iterator[tuple[int, dict, Tensor]]:
    """What `tokens` tells of texts, of interactions: every user's catalogue is ranked once, a few users at a time.

    Args:
        model: A recommender.
        examples: Interactions.
        excluded: Items that stand in no list of their user, as `left_out` gives them.
        top: Length of the lists that are kept.
        lists: Gets the users (N,), their lists (N, top; -1 where items run out) with scores, and the logarithm of the
            summed exponentials of a user's scores (N,), which makes scores of log-probabilities.
    """
    of: dict[int, list[int]] = {}
    for number, example in enumerate(examples):
        of.setdefault(example.inputs["user"], []).append(number)
    users = sorted(of)
    size = max(1, SCORES_HELD // model.net.items)
    found: dict[str, list[np.ndarray]] = {"items": [], "scores": [], "level": []}
    for start in range(0, len(users), size):
        chosen = users[start : start + size]
        scores = model.scores(torch.tensor(chosen, device=model.device)).float()
        level = scores.logsumexp(-1)
        logp = scores - level[:, None]
        p = logp.exp()
        mean = (p * logp).sum(-1)
        std = ((p * logp.square()).sum(-1) - mean.square()).clamp(min=0).sqrt()
        order = scores.argsort(
            dim=-1, descending=True, stable=True
        )  # ties go to the lower id: equal scores say nothing
        shown = torch.ones_like(scores, dtype=torch.bool)
        for row, user in enumerate(chosen):
            shown[row, excluded.get(user, [])] = False
        shown = shown.gather(-1, order)
        place = torch.empty_like(order).scatter_(-1, order, shown.cumsum(-1) - shown.long())
        best = shown.int().argsort(dim=-1, descending=True, stable=True)[:, :top]
        listed = order.gather(-1, best).masked_fill(~shown.gather(-1, best), -1)
        found["items"].append(listed.to(torch.int32).cpu().numpy())
        found["scores"].append(scores.gather(-1, listed.clamp(min=0)).cpu().numpy())
        found["level"].append(level.cpu().numpy())
        for row, user in enumerate(chosen):
            for number in of[user]:
                item = examples[number].inputs["item"]
                own = {"logp": logp[row, item], "mean": mean[row], "std": std[row]}
                rank = place[row, item]
                values = {name: value.reshape(1).cpu().numpy() for name, value in own.items()}
                values |= {"hit": np.array([bool(rank == 0)]), "rank": np.array([int(rank)], dtype=np.int32)}
                yield number, values, logp[row : row + 1]
    lists |= {"users": np.array(users), **{name: np.concatenate(parts) for name, parts in found.items()}}


def greedy(
    model: Model, probes: Probes, sets: Sequence[str], budgets: Mapping[str, int], longest: int, total: int
) -> tuple[dict[str, list[str]], int]:
    """The greedy answers of the sets ("*": of all) whose records are questions, and the number of distinct prompts.

    Args:
        model: Nothing is asked of one that does not generate.
        probes: Set name -> records.
        sets: Those that are asked.
        budgets: Longest answer by set, tokens.
        longest: The same for sets without one of their own.
        total: Most tokens of a prompt and its answer together; 0 bounds the answer alone.
    """
    if "generate" not in model.abilities:
        return {}, 0
    asked = {
        name: [(prompt, budgets.get(name, longest)) for prompt in prompts]
        for name in probes
        if ("*" in sets or name in sets) and (prompts := _prompts(model, probes[name])) is not None
    }
    answers: dict[tuple[str, int], str] = {}
    distinct = list(dict.fromkeys(one for prompts in asked.values() for one in prompts))
    for budget in sorted({budget for _, budget in distinct}):
        prompts = [prompt for prompt, most in distinct if most == budget]
        said = model.generate(prompts, budget, total=total)  # pyright: ignore[reportAttributeAccessIssue]
        answers |= {(prompt, budget): text for prompt, text in zip(prompts, said, strict=True)}
    return {name: [answers[one] for one in prompts] for name, prompts in asked.items()}, len(distinct)


def sampled(
    model: Model, probes: Probes, counts: Mapping[str, int], budgets: Mapping[str, int], longest: int, seed: int
) -> dict[str, list[list[str]]]:
    """Answers drawn at temperature 1, n per record of the sets that `counts` names with their n.

    Args:
        model: Nothing is asked of one that does not generate.
        probes: Set name -> records.
        counts: Number of answers per record, by set.
        budgets: Longest answer by set, tokens.
        longest: The same for sets without one of their own.
        seed: Seed of the draws.

    Raises:
        InputError: If a set is none of the probes, its records ask nothing, or less than one answer is wanted.
    """
    if "generate" not in model.abilities:
        return {}
    found = {}
    for name, count in counts.items():
        prompts = _prompts(model, probes.get(name, ()))
        if count < 1 or not prompts:
            raise InputError(
                f"{count} sampled answers to the set {name!r} cannot be had; name a set of questions among "
                f"{', '.join(probes)}, and at least one answer to each."
            )
        said = model.generate(  # pyright: ignore[reportAttributeAccessIssue]
            [prompt for prompt in prompts for _ in range(count)],
            budgets.get(name, longest), batch_size=64, temperature=1.0, seed=seed,
        )  # fmt: skip
        found[name] = [said[start : start + count] for start in range(0, len(said), count)]
    return found


def _prompts(model: Any, records: Sequence[Record]) -> list[str] | None:
    """The prompts of a set of questions; None where one of the records asks nothing."""
    if not all("question" in record or "raw_prompt" in record for record in records):
        return None
    return [model.prompt_of(record) for record in records]


def slopes(model: Model, examples: Sequence[Example], sets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradient norms of the sets' texts by "set.p", each distinct text once."""
    if not sets:
        return {}
    numbers = np.unique(np.concatenate(list(sets.values())))
    norms = gradient_norms(model, [examples[i] for i in numbers])
    return {f"{name}.{p}": rows[np.searchsorted(numbers, sets[name])] for name in sets for p, rows in norms.items()}


def untrained(
    model: Model, examples: Sequence[Example], sets: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Log-probabilities (N, T, C) that newly drawn weights give on each set, of a model whose records are T tokens."""
    if not sets:
        return {}
    blank = model.fresh(seed + UNTRAINED)
    numbers = np.unique(np.concatenate(list(sets.values())))
    found: dict[int, np.ndarray] = {}
    with blank.evaluating():
        for batch in blank.batches([examples[i] for i in numbers]):
            logp = blank.logits(batch).float().log_softmax(-1).cpu().numpy()
            found |= dict(zip(numbers[batch.index.cpu().numpy()].tolist(), logp, strict=True))
    return {name: np.stack([found[i] for i in rows.tolist()]) for name, rows in sets.items()}
