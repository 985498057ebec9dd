"""Merging unlearned models."""

from pathlib import Path
from typing import Literal

from lethe.descent.terms import ascend, own_loss
from lethe.errors import InputError
from lethe.losses.weights import difference, merged, shift
from lethe.models import load
from lethe.models.base import Model
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, Term, train

SPECIALISTS = ((1.0, 0.25), (0.25, 1.0))  # weights of forgetting and of retaining: one forgets too much, one too little


@method(needs={"loss"}, intent="removal", level="parameter", paper="2503.21088", requires={"forget"})
def merging(
    model: Model,
    request: Request,
    *,
    models: tuple[str, ...] = (),
    rule: Literal["ties", "linear"] = "ties",
    density: float = 0.8,
    alpha: float = 1.0,
    lr: float = 1e-3,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 0,
) -> Model:
    """Merging: add up what several unlearnings changed, so that they correct each other.

    Without `models` two specialists are trained by gradient difference, one that forgets too much and one that forgets
    too little. One model and rule=linear is interpolation: alpha of the way from the target to it. No preset paper: the
    published system merged adapters of its own training, whose settings say nothing of these specialists.

    Args:
        models: Folders of models unlearned from this one (or of any other model of its architecture).
        rule: ties (trim, elect a sign for every weight, average those that agree) or linear (plain mean).
        density: Share of each change, largest first, that ties keeps.
        alpha: How much of the merged change is applied.
        lr: Learning rate of the specialists.
        epochs: Passes of the specialists over the forget set.
        batch_size: Examples of each term per step.
        seed: Seed of the specialists; the request's where none is given.
        folder: Where their checkpoints and training logs go.
        checkpoint_every: Steps between checkpoints, which need a folder; 0 writes none.

    Raises:
        InputError: If a model is of another architecture, or there is nothing to merge or to train on.
    """
    start = model.module.state_dict()
    vectors = []
    if not models:
        if not request.retain:
            raise InputError("merging needs retain records to train its specialists; give some, or `models`.")
        recipe = Recipe(
            lr=lr, epochs=epochs, batch_size=batch_size, seed=request.seed if seed is None else seed,
            checkpoint_every=checkpoint_every,
        )  # fmt: skip
        for number, (forgets, retains) in enumerate(SPECIALISTS):
            tuned = model.copy()
            kept = Term("retain", tuned.encode(request.retain), own_loss, per="token", weight=retains)
            place = Path(folder) / f"specialist{number}" if folder is not None else None
            train(tuned, [ascend(tuned, request, forgets), kept], recipe, folder=place, identity="merging")
            vectors.append(difference(tuned.module.state_dict(), start))
    for source in models:
        other = load(source, family=model.family, device=str(model.device)).module.state_dict()
        if odd := sorted(set(other) ^ set(start)):
            raise InputError(
                f"merging: {source} and the model do not both have {odd[0]!r}; both need one architecture."
            )
        vectors.append(difference(other, start))
    unlearned = model.copy()
    unlearned.module.load_state_dict(shift(start, merged(vectors, rule, density), alpha))
    return unlearned
