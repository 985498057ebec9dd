"""Recipes that the authors of several methods share, for their models of 7 billion weights: what `presets` refer to."""

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
