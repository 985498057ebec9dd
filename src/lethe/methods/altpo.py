"""Preference for alternatives that the model itself comes up with."""

from collections.abc import Sequence

from lethe.data.order import mix
from lethe.descent.objective import objective
from lethe.descent.pairs import prefer
from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.request import Record, Request
from lethe.train import Term

ROUNDS = 6  # of drawing; each that follows draws half as warm again
PATIENCE = 2  # answers drawn per answer that is still missing


@objective(
    families={"language"},
    needs={"nll", "generate"},
    intent="suppression",
    paper="2409.13474",
    retain="nll",
    presets={"paper": {"lr": 5e-5, "epochs": 2, "beta": 0.1, "alternatives": 5, "precision": "bf16"}},
)
def altpo(
    model: LanguageModel,
    request: Request,
    *,
    beta: float = 0.1,
    alternatives: int = 5,
    temperature: float = 1.0,
    question: str = "{question}",
) -> Term:
    """AltPO: prefer answers of the right kind, drawn from the model itself, to the one to forget.

    One epoch shows every pair of known and alternative answer. A draw that repeats the known answer is no alternative:
    it is drawn again, each time half as warm again, since what a model knows by heart it says at temperature 1.

    Args:
        beta: Inverse temperature of the preference, per nat.
        alternatives: Answers drawn per question.
        temperature: Softmax temperature of the first draw.
        question: How alternatives are asked for; the paper asks an instruction-tuned model for a wrong answer.

    Raises:
        InputError: If a record has no question, or the model says nothing else about one however warm it is.
    """
    if alternatives < 1:
        raise InputError(f"altpo: alternatives is {alternatives}; there must be at least 1 per question.")
    if not temperature > 0:
        raise InputError(f"altpo: temperature is {temperature}; alternatives are drawn, so it must be above 0.")
    if unasked := [record["id"] for record in request.forget if "question" not in record]:
        raise InputError(f"altpo: record {unasked[0]!r} has no question, so there is no other answer to it.")
    known = model.encode(request.forget)
    length = max(example.size for example in known)
    drawn = _draw(model, request.forget, question, alternatives, length, temperature, request.seed)
    others = [{**record, "answer": answer} for record, own in zip(request.forget, drawn, strict=True) for answer in own]
    return prefer(model, [example for example in known for _ in range(alternatives)], model.encode(others), beta)


def _draw(
    model: LanguageModel, records: Sequence[Record], question: str, count: int, length: int, warmth: float, seed: int
) -> list[list[str]]:
    """`count` answers per record, other than its own."""
    asked = [model.prompt(question.replace("{question}", str(record["question"]))) for record in records]
    found: list[list[str]] = [[] for _ in records]
    for turn in range(ROUNDS):
        rows = [row for row, own in enumerate(found) for _ in range(PATIENCE * (count - len(own)))]
        texts = model.generate(
            [asked[row] for row in rows], length, temperature=warmth * 1.5**turn, seed=mix(seed, 23, turn)
        )
        for row, text in zip(rows, texts, strict=True):
            if text and text != str(records[row]["answer"]).strip() and len(found[row]) < count:
                found[row].append(text)
        if all(len(own) == count for own in found):
            return found
    if silent := [record["id"] for record, own in zip(records, found, strict=True) if not own]:
        raise InputError(
            f"altpo: {ROUNDS} rounds of draws for record {silent[0]!r} brought no other answer; raise temperature "
            f"(now {warmth:g})."
        )
    return [(own * count)[:count] for own in found]
