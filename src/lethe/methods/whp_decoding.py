"""Who's Harry Potter while decoding."""

import math
from pathlib import Path

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.difference import wrap
from lethe.models.language import LanguageModel
from lethe.registry import method
from lethe.request import Request
from lethe.train import Recipe, Term, train


@method(
    families={"language"}, needs={"logits"}, intent="suppression", level="decoding", paper="2407.06460",
    requires={"forget"}, presets={"paper": {"alpha": 1.0, "lr": 1e-5, "epochs": 10}},
)  # fmt: skip
def whp_decoding(
    model: LanguageModel,
    request: Request,
    *,
    alpha: float = 1.5,
    lr: float = 1e-3,
    epochs: int = 10,
    batch_size: int = 16,
    seed: int | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 0,
) -> LanguageModel:
    """Who's Harry Potter without distilling, as MUSE has it: whatever rises by reinforcement is lowered at every token.

    The logits are v - alpha * ReLU(v_reinforced - v), where the reinforced model is trained further on the forget set.
    No weight of the model changes; every token costs two forward passes of full size.

    Args:
        alpha: How strongly what rose is lowered.
        lr: Learning rate of the further training on the forget set.
        epochs: Passes over the forget set in that training.
        batch_size: Examples per step.
        seed: Seed of that training; the request's where none is given.
        folder: Where checkpoints and the training log go.
        checkpoint_every: Steps between checkpoints, which need a folder; 0 writes none.

    Raises:
        InputError: If alpha is negative, or the model is wrapped for decoding already.
    """
    if not 0 <= alpha < math.inf:
        raise InputError(f"whp_decoding: alpha is {alpha:g}; it must be a finite number of at least 0.")
    wrapped, reinforced = model.copy(), model.copy()
    recipe = Recipe(
        lr=lr, epochs=epochs, batch_size=batch_size, seed=request.seed if seed is None else seed,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    terms = [Term("reinforce", reinforced.encode(request.forget), own_loss, per="token", role="forget")]
    train(reinforced, terms, recipe, folder=folder, identity="whp_decoding")
    wrapped.module = wrap(wrapped.module, [reinforced.module], rule="relu", weights=[alpha])
    return wrapped
