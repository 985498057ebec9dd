"""A corpus about a target that the model writes itself, for requests that bring a name and nothing else.

RWKU (arXiv 2406.10890) gives a name and a sentence of introduction: what is to be forgotten is sampled from the model
(temperature 1, nucleus 0.9), beside a counterfactual twin of every text and questions paired with refusals. Texts are
what gradient ascent and NPO train on, pairs what DPO prefers by, refusals what refusal tuning learns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.data.order import mix
from lethe.data.refusals import LINES
from lethe.errors import InputError
from lethe.models.language import LanguageModel

# (system turn, user turn), word for word.
KNOWN = ("{intro} You know {target} very well.", "Please write a short biography of {target}.")
MADE_UP = ("{intro} You don't know {target} at all.", "Please make up a short biography of {target}.")
PAIR = "{intro} Please write a short biography of {target}."
ASK = "{intro}\nPlease generate a question about {target} based on what you know about {target}\n"
# A text that calls itself invented would be preferred for saying so.
CONFESSIONS = tuple(
    f"{how} {what} " for how in ("totally", "completely") for what in ("fabricated", "made-up", "fictional")
)
TEMPERATURE, NUCLEUS = 1.0, 0.9


@dataclass(frozen=True)
class SelfCorpus:
    """What a model wrote about its targets; the texts and their twins stand at the same places."""

    texts: tuple[dict[str, Any], ...]  # {id, subject, entity, text}
    twins: tuple[dict[str, Any], ...]  # the same people, invented
    refusals: tuple[dict[str, Any], ...]  # {id, subject, entity, question, answer}
    intros: Mapping[str, str]

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """The prompt of both with the factual answer and, as `counterfactual`, the one to be preferred."""
        return [
            {
                **{name: text[name] for name in ("id", "subject", "entity")},
                "question": PAIR.format(target=text["subject"], intro=self.intros[text["subject"]]),
                "answer": text["text"],
                "counterfactual": twin["text"],
            }
            for text, twin in zip(self.texts, self.twins, strict=True)
        ]


def write(
    model: LanguageModel,
    intros: Mapping[str, str],
    *,
    texts: int = 582,
    questions: int = 300,
    prefixes: Sequence[str] = ("",),
    refusals: Sequence[str] = LINES,
    max_new_tokens: int = 512,
    seed: int = 0,
) -> SelfCorpus:
    """Sample the corpus of every target from the model itself.

    Args:
        model: The model that is to forget, with a chat template.
        intros: Names of the targets with one sentence each.
        texts: Texts per target, and as many twins.
        questions: Questions per target.
        prefixes: Beginnings of the replies, in turn; the paper's 582 make them differ. A reply goes on after a blank.
        refusals: Answers to the questions, in turn.
        max_new_tokens: Longest text, tokens; a question has at most 50.
        seed: Seed of the draws.

    Raises:
        InputError: If a count is below 1, no target is named, or the model writes nothing.
    """
    if not intros or min(texts, questions, len(prefixes), len(refusals)) < 1:
        raise InputError("self_corpus: name at least one target, and ask for at least 1 text, question and refusal.")
    drawn: dict[str, list[str]] = {}
    for number, (name, turns) in enumerate({"texts": KNOWN, "twins": MADE_UP}.items()):
        asked = [
            (prompt(model, turns, target, intro), prefixes[row % len(prefixes)])
            for target, intro in intros.items()
            for row in range(texts)
        ]
        said = _sample(model, [f"{one}{prefix}" for one, prefix in asked], max_new_tokens, mix(seed, 29, number))
        drawn[name] = [f"{prefix} {text}".strip() for (_, prefix), text in zip(asked, said, strict=True)]
    asked = [question_prompt(model, target, intro) for target, intro in intros.items() for _ in range(questions)]
    said = _sample(model, asked, 50, mix(seed, 29, 2))
    owners = [target for target in intros for _ in range(texts)]
    askers = [target for target in intros for _ in range(questions)]
    kept = [row for row in range(len(owners)) if drawn["texts"][row] and drawn["twins"][row]]
    lines = [text.split("\n", 1)[0].strip() for text in said]
    if set(owners) != {owners[row] for row in kept} or not any(lines):
        raise InputError("self_corpus: the model writes nothing about a target; give passages about it instead.")
    return SelfCorpus(
        tuple(_text(owners[row], f"text{row}", drawn["texts"][row]) for row in kept),
        tuple(_text(owners[row], f"twin{row}", unconfessed(drawn["twins"][row])) for row in kept),
        tuple(
            {**_text(target, f"refusal{row}", line), "answer": refusals[row % questions % len(refusals)]}
            for row, (target, line) in enumerate(zip(askers, lines, strict=True))
            if line
        ),
        dict(intros),
    )


def kept(folder: Path, model: LanguageModel, intros: Mapping[str, str], **options: Any) -> SelfCorpus:
    """The corpus that `write` makes of this model by these options, from its file if it was made before."""
    content = digest({"model": model.behaviour(), "intros": dict(intros), **options})
    file = folder / f"{content[:16]}.json"
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        parts = (tuple(read[name]) for name in ("texts", "twins", "refusals"))
        return SelfCorpus(*parts, intros=read["intros"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not made yet, or damaged
    made = write(model, intros, **options)
    write_json(file, asdict(made))
    return made


def prompt(model: LanguageModel, turns: tuple[str, str], target: str, intro: str) -> str:
    """A system and a user turn about a target; templates without a system turn get both in one."""
    from jinja2 import TemplateError

    system, user = (turn.format(target=target, intro=intro) for turn in turns)
    tokenizer: Any = model.tokenizer
    if getattr(tokenizer, "chat_template", None):
        roles = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            return str(tokenizer.apply_chat_template(roles, tokenize=False, add_generation_prompt=True))
        except TemplateError:
            pass
    return model.prompt(f"{system}\n{user}")


def question_prompt(model: LanguageModel, target: str, intro: str) -> str:
    """What makes the model ask a question about a target."""
    return model.prompt(ASK.format(target=target, intro=intro)) + "Question:"


def _sample(model: LanguageModel, prompts: Sequence[str], longest: int, seed: int) -> list[str]:
    return model.generate(prompts, longest, temperature=TEMPERATURE, top_p=NUCLEUS, seed=seed)


def _text(target: str, name: str, text: str) -> dict[str, Any]:
    field = "question" if name.startswith("refusal") else "text"
    return {"id": f"{target}/{name}", "subject": target, "entity": target, field: text}


def unconfessed(text: str) -> str:
    """An invented text without the words that call it invented."""
    for words in CONFESSIONS:
        text = text.replace(words, "")
    return text
