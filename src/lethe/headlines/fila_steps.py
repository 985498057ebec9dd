"""Adapters that start on the forget set's directions forget in fewer steps."""

from collections.abc import Sequence

from lethe.models.base import IGNORED, Example, Model
from lethe.models.language import LanguageModel
from lethe.registry import find, headline
from lethe.request import Request
from lethe.worlds import facts
from lethe.worlds.models import facts_model

TARGETS = "mlp.gate_proj,mlp.up_proj,mlp.down_proj"
RATES = (1e-3, 3e-3)
STEPS = 100
LOOKS = (10, 20, 50, 100)
FORGOTTEN = 0.4  # forget accuracy that both have to reach


@headline(
    paper="2408.06621",
    expects={
        f"steps to forget, plain LoRA over FILA, lr {RATES[0]:g}": (">=", 2.0),
        f"steps to forget, plain LoRA over FILA, lr {RATES[1]:g}": (">=", 2.0),
        "lowest retain accuracy of FILA": (">=", 0.8),
        "retain accuracy of FILA at the end": (">=", 0.97),
    },
)
def fila_steps(*, seed: int) -> dict[str, float]:
    """With Fisher-weighted initialisation, adapters forget in at most half the steps that plain LoRA needs.

    A hundred facts, ten of them to be forgotten by IHL with the retain loss; adapters of rank 8 (alpha 16) on the MLP
    matrices of three blocks, all facts in every step. Accuracy is that of the answer's tokens, 0 to 1, after every
    step; to have forgotten is to fall to 0.4. Who never does within 100 steps counts as 101: the ratio is then a lower
    bound. Retain figures are the worse of the two learning rates.
    """
    figures: dict[str, float] = {}
    lowest, end = [], []
    for rate in RATES:
        curves = {where: _curve(where, rate, seed) for where in ("lora", "fila")}
        steps = {where: _first(curve) for where, curve in curves.items()}
        figures[f"steps to forget, plain LoRA over FILA, lr {rate:g}"] = steps["lora"] / steps["fila"]
        for where, curve in curves.items():
            name = {"lora": "plain LoRA", "fila": "FILA"}[where]
            figures[f"steps to forget, {name}, lr {rate:g}"] = steps[where]
            for look in LOOKS:
                figures[f"forget accuracy of {name} after {look} steps, lr {rate:g}"] = curve[look - 1][0]
        lowest.append(min(retain for _, retain in curves["fila"]))
        end.append(curves["fila"][-1][1])
    return {**figures, "lowest retain accuracy of FILA": min(lowest), "retain accuracy of FILA at the end": min(end)}


def _curve(where: str, rate: float, seed: int) -> list[tuple[float, float]]:
    """(forget accuracy, retain accuracy) after every step."""
    target = facts_model("full", seed, world_seed=seed)
    forget, retain = facts.records("forget", seed), facts.records("retain", seed)
    sides = [target.encode(records) for records in (forget, retain)]
    curve: list[tuple[float, float]] = []

    def look(model: Model) -> float:
        curve.append((_accuracy(model, sides[0]), _accuracy(model, sides[1])))
        return 0.0

    find("method", "ihl").function(
        target, Request(forget, retain, seed=seed), where=f"{where}:rank=8,alpha=16,targets={TARGETS}", lr=rate,
        steps=STEPS, batch_size=len(retain), evaluate=look, evaluate_every=1,
    )  # fmt: skip
    return curve


def _first(curve: Sequence[tuple[float, float]]) -> int:
    return next((step for step, (forget, _) in enumerate(curve, 1) if forget <= FORGOTTEN), STEPS + 1)


def _accuracy(model: Model, examples: Sequence[Example]) -> float:
    """Share of the answer's tokens, without the end token, that are the likeliest."""
    assert isinstance(model, LanguageModel)
    right = count = 0
    for batch in model.batches(examples, 128):
        scored = (batch.labels != IGNORED) & (batch.labels != model.eos)
        right += int(((model.logits(batch).argmax(-1) == batch.labels) & scored).sum())
        count += int(scored.sum())
    return right / count
