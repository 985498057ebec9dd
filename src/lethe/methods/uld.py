"""Unlearning from logit difference."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lethe.descent.terms import own_loss
from lethe.descent.where import all_weights, lora
from lethe.errors import InputError
from lethe.losses.targets import me
from lethe.models.base import Batch
from lethe.models.difference import first_blocks, wrap
from lethe.models.language import LanguageModel
from lethe.registry import method
from lethe.request import Record, Request
from lethe.train import Recipe, Term, train

MOST_RETAINED = 400  # the released code reads at most so many retain records, from the end


@method(
    families={"language"}, needs={"logits"}, intent="suppression", level="decoding", paper="2406.08607",
    requires={"forget", "retain"},
    presets={"paper": {
        "blocks": 8, "rank": 16, "alpha": 32.0, "weight": -0.8, "top": 0.01, "lr": 1e-3, "epochs": 10,
        "batch_size": 16, "weight_decay": 0.01, "warmup": 0.1,
    }},
)  # fmt: skip
def uld(
    model: LanguageModel,
    request: Request,
    *,
    weight: float = -0.8,
    top: float = 0.01,
    uniform: float = 5.0,
    blocks: int = 1,
    rank: int = 0,
    alpha: float = 32.0,
    augment: int = 2,
    filtered: Literal["released", "kept", "hidden"] = "released",
    variant: Literal["paper", "reference"] = "paper",
    lr: float = 1e-3,
    epochs: int = 20,
    batch_size: int = 16,
    weight_decay: float = 0.0,
    warmup: float = 0.0,
    seed: int | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 0,
    evaluate_every: int = 0,
    evaluate: Callable[[LanguageModel], float] | None = None,
) -> LanguageModel:
    """ULD: an assistant that knows only the forget set is subtracted from the logits; no weight of the model changes.

    The assistant is a copy of the first blocks, trained to say the forget set and to be uniform on the retain set:
    where it is uniform, the answer is the model's own. Wrong answers to the forget questions (perturbed_answer) count
    as retain records, and paraphrases (paraphrased_question, paraphrased_answer) as forget records, where records have
    them. Every token costs two forward passes; what was forgotten is still in the weights.

    Args:
        weight: How many times the assistant's logits are added; negative forgets, -0.5 to -1 in the released scripts.
        top: Only tokens with at least this share of the largest probability are touched, 0 to 1; 0 touches all.
        uniform: Weight of the retain term, KL(uniform || assistant) in nats per token.
        blocks: Decoder blocks of the assistant, from the first.
        rank: Rank of the adapters (LoRA) that are trained; 0 trains every weight of the assistant.
        alpha: Scale of the adapters.
        augment: Most paraphrases, and most wrong answers, per record; 0 uses none.
        filtered: Filtered tokens keep the model's logit (kept), are never chosen (hidden), or kept where probabilities
            are read and never chosen in generation (released).
        variant: reference also counts the prompt's positions and padding as retained, uses as many retain records as
            there are forget records (400 at most, the last ones) with their wrong answers, and keeps a top share of the
            vocabulary unfiltered, which switches the filter off where the vocabulary has fewer than 1/top tokens.
        lr: Learning rate of the assistant.
        epochs: Passes over the augmented forget set.
        batch_size: Examples of each term per step.
        weight_decay: Decoupled weight decay per step, times the learning rate.
        warmup: Share of the steps with rising learning rate, 0 to 1.
        seed: Seed of data order, paraphrases and adapters; the request's where none is given.
        folder: Where checkpoints and the training log go.
        checkpoint_every: Steps between checkpoints, which need a folder; 0 writes none.
        evaluate_every: Steps between evaluations; 0 evaluates never.
        evaluate: Function of the wrapped model (from Python only) that evaluate_every asks.

    Raises:
        InputError: If augment is negative, the model has fewer blocks, or is wrapped for decoding already.
    """
    if augment < 0:
        raise InputError(f"uld: augment is {augment}; it counts paraphrases and must be at least 0.")
    seed = request.seed if seed is None else seed
    recipe = Recipe(lr=lr, epochs=epochs, batch_size=batch_size, weight_decay=weight_decay, warmup=warmup, seed=seed,
                    checkpoint_every=checkpoint_every, evaluate_every=evaluate_every)  # fmt: skip
    wrapped, assistant = model.copy(), model.copy()
    assistant.module = small = first_blocks(model.module, blocks)
    released = variant == "reference"
    wrapped.module = wrap(wrapped.module, [small], weights=[weight], top=top, floor=released, filtered=filtered)
    said, withheld = augmented(request, augment, seed, released)

    def flat(assistant: LanguageModel, batch: Batch) -> Tensor:
        if not released:
            return me(assistant.logits(batch), batch.labels).sum(-1)
        logits = assistant.module(**batch.inputs, use_cache=False).logits
        return me(logits, batch.inputs["input_ids"], "reference").mean(-1)

    terms = [
        Term("forget", assistant.encode(said), own_loss, per="token", role="forget"),
        Term("uniform", assistant.encode(withheld), flat, per="example" if released else "token", weight=uniform),
    ]
    drawn = replace(request, seed=seed, allow_overlap=True)  # its sets have been compared; only the draws change
    chosen = lora(assistant, drawn, rank=rank, alpha=alpha) if rank else all_weights(assistant, drawn)
    look = None if evaluate is None else lambda _: evaluate(wrapped)
    train(assistant, terms, recipe, selection=chosen, folder=folder, identity=f"uld {variant} {alpha}", evaluate=look)
    chosen.finish()  # adapters live in, and are merged into, the very module that is wrapped
    return wrapped


def augmented(request: Request, most: int, seed: int, released: bool) -> tuple[list[Record], list[Record]]:
    """What the assistant is to say and where it is to have no opinion: records with their paraphrases, wrong answers.

    Wrong answers come from the forget records alone; with `released` from the retain records, too.
    """
    retain = request.retain[-min(MOST_RETAINED, len(request.forget)) :] if released else request.retain
    rng = torch.Generator().manual_seed(seed)
    said = [*request.forget, *(pair for record in request.forget for pair in _paraphrases(record, most, rng))]
    wrong = [one for record in (*request.forget, *(retain if released else ())) for one in _wrong(record, most)]
    return said, [*retain, *wrong]


def _paraphrases(record: Record, most: int, rng: torch.Generator) -> Iterator[Record]:
    questions, answers = (_texts(record.get(f"paraphrased_{part}")) for part in ("question", "answer"))
    if not questions and not answers:
        return
    asked, told = questions or [record["question"]], answers or [record["answer"]]
    pairs = [(question, answer) for question in asked for answer in told]
    for number in torch.randperm(len(pairs), generator=rng)[:most].tolist():
        yield {**record, "question": pairs[number][0], "answer": pairs[number][1]}


def _wrong(record: Record, most: int) -> Iterator[Record]:
    for answer in _texts(record.get("perturbed_answer"))[:most]:
        yield {**record, "answer": answer}


def _texts(value: object) -> Sequence[str]:
    """The distinct texts of a field that holds one, several or none."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    return [str(text) for text in dict.fromkeys(texts) if str(text).strip()]
