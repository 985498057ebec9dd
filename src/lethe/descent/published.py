"""Recipes that the authors of several methods share, on data and models of their size: what `presets` refer to."""

import itertools
from typing import Any

# TOFU's code (arXiv 2401.06121): AdamW, a linear decay after one epoch of warm-up, full fine-tuning.
TOFU: dict[str, Any] = {
    "lr": 1e-5,
    "epochs": 5,
    "batch_size": 32,
    "weight_decay": 0.01,
    "schedule": "linear",
    "warmup": 0.2,
    "precision": "bf16",
}
# NPO's code (arXiv 2404.05868) trains twice as long; again the first epoch warms up.
NPO: dict[str, Any] = TOFU | {"epochs": 10, "warmup": 0.1}
# The WMDP runs of SimNPO (arXiv 2410.07163) and of SAM unlearning (arXiv 2502.05374).
WMDP: dict[str, Any] = {"batch_size": 4, "schedule": "linear", "warmup": 0.1, "precision": "bf16"}


def clocked(retain: int, forget: int, batch_size: int, epochs: int) -> int:
    """Updates that MUFAC's NegGrad makes: passes over the retain set are its clock, and its forget batches run on.

    At every tick the next batch of either set is taken, and where one is short the tick is skipped.

    Args:
        retain: Records of the retain set.
        forget: Records of the forget set.
        batch_size: Records per batch.
        epochs: Passes over the retain set.
    """

    def sizes(count: int) -> list[int]:
        return [min(batch_size, count - start) for start in range(0, count, batch_size)]

    pairs = zip(sizes(retain) * epochs, itertools.cycle(sizes(forget)), strict=False)
    return sum(kept == gone for kept, gone in pairs)


# MUFAC's notebooks (arXiv 2311.02240): plain SGD for every method, on a ResNet-18, 8,525 pictures to keep and 1,500 to
# forget. What ascends on the forget set sees it about eleven times.
MUFAC: dict[str, Any] = {
    "lr": 1e-3,
    "epochs": 2,
    "batch_size": 64,
    "optimizer": "sgd",
    "momentum": 0.0,
    "clip": None,
}
MUFAC_STEPS = clocked(8525, 1500, MUFAC["batch_size"], MUFAC["epochs"])
