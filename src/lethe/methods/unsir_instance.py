"""Impair with noise that looks to the model like the forget records, and repair: UNSIR for records, not classes."""

import torch
from torch import Tensor

from lethe.descent.objective import objective
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Model
from lethe.request import Request
from lethe.train import Term


@objective(
    families={"classifier"}, needs={"logits", "loss"}, paper="2311.02240", retain=None, requires={"retain"},
    presets={"paper": {"lr": 1e-3, "epochs": 4, "batch_size": 64, "optimizer": "sgd", "momentum": 0.0}},
)  # fmt: skip
def unsir_instance(
    model: Model, request: Request, *, impair_epochs: int = 2, noise_steps: int = 5, noise_lr: float = 0.01
) -> list[Term]:
    """UNSIR for instances: train noise away from the forget records' outputs on labels of the retain set, then repair.

    The noise starts as a normal draw and is moved by Adam to *raise* the mean squared distance between its logits and
    those of a batch of forget records (a comment in the released code says the contrary), then clamped to 0 to 1.
    Labels of forget records are never read. The last epochs see retain records alone.

    Args:
        impair_epochs: Epochs with noise beside the retain records.
        noise_steps: Steps in which a batch of noise is moved; 0 leaves the draw.
        noise_lr: Learning rate of the noise.

    Raises:
        InputError: If a number is out of range.
    """
    if impair_epochs < 1 or noise_steps < 0 or noise_lr < 0:
        raise InputError(
            f"unsir_instance: impair_epochs={impair_epochs} must be at least 1, noise_steps={noise_steps} and "
            f"noise_lr={noise_lr:g} at least 0."
        )
    retain = model.encode(request.retain)
    labels = torch.cat([model.collate([example], [0]).labels for example in retain])

    def impair(model: Model, batch: Batch) -> Tensor:
        x = away(model, batch, noise_steps, noise_lr)
        drawn = labels[torch.randint(len(labels), (len(batch),))].to(batch.labels.device)  # seeded by the step
        return sequence_nll(model.logits(Batch(batch.index, {**batch.inputs, "x": x}, drawn)), drawn)

    return [
        Term("retain", retain, own_loss),
        Term("impair", model.encode(request.forget), impair, role="forget", active=lambda e: e < impair_epochs),
    ]


def away(model: Model, batch: Batch, steps: int, lr: float) -> Tensor:
    """Noise in the shape of the batch's inputs, in 0 to 1, whose logits lie away from those of the batch."""
    x = torch.randn(batch.inputs["x"].shape).to(batch.inputs["x"]).requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=lr)
    with model.evaluating():
        shown = model.logits(batch)
        with torch.enable_grad():
            for _ in range(steps):
                found = model.logits(Batch(batch.index, {**batch.inputs, "x": x}, batch.labels))
                (x.grad,) = torch.autograd.grad(-(found - shown).square().mean(), [x])
                optimizer.step()
    return x.detach().clamp(0, 1)
