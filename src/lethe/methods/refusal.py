"""Refusing at the output."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from lethe.data.refusals import LINES
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.guard import Guard, words
from lethe.registry import method
from lethe.request import Record, Request


@method(families={"language", "recommender"}, intent="suppression", level="output", requires={"forget"})
def refusal(model: Model, request: Request, *, answer: str = LINES[0]) -> Model:
    """Refusal, a floor: whoever asks for the forget set gets no answer; not one weight changes.

    A language model refuses prompts that contain a forget question or name a forgotten entity; a recommender never
    shows a forgotten interaction. The rules lie beside the weights in the model's folder, for whoever obeys them.

    Args:
        answer: What a language model says instead.

    Raises:
        InputError: If the answer is empty, or forget records of a language model hold no questions.
    """
    if not answer.strip():
        raise InputError("refusal: the answer is empty; say something.")
    guarded = model.copy()
    if model.family == "recommender":
        guarded.guard = Guard(pairs=tuple((int(r["user"]), int(r["item"])) for r in request.forget))
        return guarded
    questions = tuple(str(record["question"]) for record in request.forget if "question" in record)
    if not questions:
        raise InputError("refusal: the forget records hold no questions, so there is nothing to refuse.")
    guarded.guard = Guard(answer, _names(request.forget, request.retain), questions)
    return guarded


def _names(forget: Sequence[Record], retain: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    """Per entity the words of most of its questions that no retained question has: mostly what it is called."""
    common = {word for record in retain for word in words(str(record.get("question", "")))}
    questions: dict[str, list[str]] = defaultdict(list)
    for record in forget:
        if "entity" in record and "question" in record:
            questions[str(record["entity"])].append(str(record["question"]))
    names = []
    for asked in questions.values():
        count = Counter(word for question in asked for word in set(words(question)))
        names.append(tuple(sorted(word for word, n in count.items() if 2 * n > len(asked) and word not in common)))
    return tuple(name for name in names if name)
