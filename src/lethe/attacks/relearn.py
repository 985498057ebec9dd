"""Relearning: does a little of the forgotten data, or of its surroundings, bring back the rest?"""

from collections.abc import Iterator
from typing import Literal

from lethe.data.answers import emptied, silent
from lethe.data.held import held_and_others
from lethe.descent.tuning import SMOOTH, TAMPERING, drawn, tuned
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.registry import attack
from lethe.request import Record, Request

THREE_RATES = ("", "lr=0.0003", "lr=0.003", "where=lora,lr=0.003")


@attack(
    needs={"loss"}, paper="2502.05374", requires={"forget"}, check="R3", evidence_class="E3", unit="steps",
    budgets={
        "quick": ("",),
        "standard": THREE_RATES,
        "thorough": (
            *THREE_RATES, "share=0.2", "data=answer_free,lr=0.0003", "data=domain", "data=domain,where=lora,lr=0.003",
            "steps=16,50,100",
        ),
    },
    presets={name: row.options for name, row in (TAMPERING | SMOOTH).items()},
)  # fmt: skip
def relearn(
    model: Model,
    request: Request,
    *,
    data: Literal["forget", "domain", "answer_free"] = "forget",
    share: float = 0.5,
    examples: int = 0,
    steps: tuple[int, ...] = (5, 10, 20),
    lr: float = 1e-3,
    batch_size: int = 8,
    where: str = "all",
    warmup: float = 0.0,
    clip: float | None = 1.0,
    seed: int | None = None,
) -> Iterator[Tampered]:
    """Fine-tune on a share of the forget set, or on text about it without the answers; look at the other records.

    One run of AdamW, looked at after each number of steps. One rate alone certifies little: list the attack with
    several. A model that never knew the forget set learns too, hence the control. Presets hold the published tables
    (lora_1 to full_4, sam_20 to sam_60), whose rates are for models of 7 and 8 billion weights.

    Args:
        data: forget (a share of the forget records), domain (retain records of the same field "domain", or all where
            none tells, that give no forgotten answer away; all forget records are looked at), or answer_free (the
            questions of the share alone, as text without any of the answers).
        share: Share of the forget records that the attacker holds, 0 to 1, drawn by the seed.
        examples: Records that the attacker trains on, drawn by the seed; 0 takes all that there are.
        steps: Optimiser steps after which the model is looked at; 0 is the model itself.
        lr: Learning rate.
        batch_size: Records per step.
        where: Weights that may move: all, lora:rank=8, layers:match=REGEX; `lethe describe where` lists every choice.
        warmup: Share of the largest number of steps over which the rate rises, 0 to 1; it is constant thereafter.
        clip: Largest gradient norm; none switches clipping off.
        seed: Seed of the draws and of the training; the request's where none is given.

    Raises:
        InputError: If the share leaves no record on one of the two sides, a number of steps is below 0, or there is no
            answer-free text.
    """
    seed = request.seed if seed is None else seed
    held, others = _divided(model, request, data, share, seed)
    recipe = Recipe(lr=lr, batch_size=batch_size, warmup=warmup, clip=clip, seed=seed)
    for budget, snapshot in tuned(model, request, drawn(held, examples, seed), steps, recipe, where, "relearn"):
        yield Tampered(snapshot, float(budget), others)


def _divided(model: Model, request: Request, data: str, share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """What the attacker trains on, and the forget records to look at."""
    if data == "domain":
        return _neighbours(model, request), list(request.forget)
    held, others = held_and_others(request.forget, share, seed, "relearn")
    if data == "forget":
        return held, others
    if model.family != "language":
        raise InputError(f"relearn: data=answer_free is text about the forgotten; this is a {model.family} model.")
    return emptied(held, others, "relearn with data=answer_free"), others


def _neighbours(model: Model, request: Request) -> list[Record]:
    domains = {record["domain"] for record in request.forget if "domain" in record}
    near = [record for record in request.retain if not domains or record.get("domain") in domains]
    if model.family == "language":
        near = silent(near, request.forget)
    if not near:
        raise InputError(
            "relearn: data=domain needs retain records of the forget set's domain that hold none of its answers; "
            "there are none: give some, or take other data."
        )
    return near
