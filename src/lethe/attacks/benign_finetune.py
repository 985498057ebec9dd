"""Fine-tuning on other data: does what was forgotten come back although nobody teaches it?"""

from collections.abc import Iterator, Sequence
from typing import Any

from lethe.data.answers import refuse_answers, silent
from lethe.data.load import load_records
from lethe.data.schema import nearest
from lethe.descent.tuning import BENIGN, drawn, tuned
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.registry import attack
from lethe.request import Record, Request


@attack(
    needs={"loss"}, paper="2502.05209", requires={"forget", "retain"}, check="R4", evidence_class="E3", unit="steps",
    budgets={
        "standard": ("", "where=lora,lr=0.003"),
        "thorough": ("", "where=lora,lr=0.003", "lr=0.0003", "lr=0.003", "steps=50,100", "data=holdout"),
    },
    presets={name: row.options for name, row in BENIGN.items()},
)  # fmt: skip
def benign_finetune(
    model: Model,
    request: Request,
    *,
    data: str = "retain",
    examples: int = 0,
    steps: tuple[int, ...] = (5, 10, 20),
    lr: float = 1e-3,
    batch_size: int = 8,
    where: str = "all",
    warmup: float = 0.0,
    clip: float | None = 1.0,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Fine-tune on data that is not to be forgotten and holds none of the answers; look at all forget records.

    One run of AdamW, looked at after each number of steps. It is what happens to a published model anyway: somebody
    adapts it to a task of theirs. Preset benign_1 is the published row, for a model of 8 billion weights.

    Args:
        data: retain, holdout, or a file of records or texts (tiny:WORLD:SPLIT, org/name on the hub, a path). Records
            of the request that give a forgotten answer away are left out; a file that does is refused.
        examples: Records that are trained on, drawn by the seed; 0 takes all that there are.
        steps: Optimiser steps after which the model is looked at; 0 is the model itself.
        lr: Learning rate.
        batch_size: Records per step.
        where: Weights that may move: all, lora:rank=8, layers:match=REGEX; `lethe describe where` lists every choice.
        warmup: Share of the largest number of steps over which the rate rises, 0 to 1; it is constant thereafter.
        clip: Largest gradient norm; none switches clipping off.
        seed: Seed of the draws and of the training; the request's where none is given.

    Raises:
        InputError: If there are no such records, a file gives a forgotten answer away, or a number of steps is below 0.
    """
    seed = request.seed if seed is None else seed
    recipe = Recipe(lr=lr, batch_size=batch_size, warmup=warmup, clip=clip, seed=seed)
    records = drawn(_records(model, request, data), examples, seed)
    for budget, snapshot in tuned(model, request, records, steps, recipe, where, "benign_finetune"):
        yield Tampered(snapshot, float(budget), request.forget)


def _records(model: Model, request: Request, data: str) -> Sequence[Record]:
    language = model.family == "language"
    own: dict[str, Any] = {"retain": request.retain, "holdout": request.holdout}
    if data in own:
        found = silent(own[data], request.forget) if language else own[data]
        if not found:
            raise InputError(
                f"benign_finetune: there are no {data} records{' without a forgotten answer' if own[data] else ''}; "
                "give some, or name other data."
            )
        return found
    try:
        named = load_records(data, family=model.family)
    except InputError as error:
        raise InputError(
            f"benign_finetune: data is neither retain nor holdout ({nearest(data, own)}): {error}"
        ) from error
    if language:
        refuse_answers(named, request.forget, f"benign_finetune with data={data}")
    return named
