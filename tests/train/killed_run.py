"""A training run that is killed on purpose; `python -m tests.train.killed_run FOLDER KILLS SEED`.

The run is started KILLS + 1 times on one folder, each time in a new process. All but the last are ended by SIGKILL at a
random moment: some before the first checkpoint, some while one is written. Forked processes save the seconds that an
import of torch takes; nothing of a run survives in them but what it has written to the folder.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from tests.models import tiny
from torch import Tensor, nn

from lethe.descent.steps import sam
from lethe.models.base import Batch, Model, per_example
from lethe.models.classifier import Classifier
from lethe.train import Recipe, Term, train

STEPS = 150


def model() -> Classifier:
    """With dropout (random draws) and running statistics (buffers that move)."""
    return Classifier(
        tiny.drawn(
            lambda: nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
        )
    )


def run(folder: Path) -> None:
    """One whole run, from whatever the folder holds; the last thing it writes is the fingerprint of the weights."""
    trained = model()
    forget, retain = tiny.features(12, 1), tiny.features(30, 2)
    examples = trained.encode(forget)
    reference = per_example(trained, examples)

    def leave(model: Model, batch: Batch) -> Tensor:
        return (reference[batch.index] - model.loss(batch)).exp()

    terms = [
        Term("forget", examples, leave, role="forget"),
        Term("retain", trained.encode(retain), lambda m, b: m.loss(b), per="token"),
    ]
    recipe = Recipe(
        lr=0.01, steps=STEPS, batch_size=8, accumulate=2, schedule="cosine", weight_decay=0.01, clip=1.0,
        checkpoint_every=3, evaluate_every=11, keep="best",
    )  # fmt: skip

    def evaluate(model: Model) -> float:
        return float(per_example(model, model.encode(retain)).mean())

    train(trained, terms, recipe, step_rule=sam(rho=0.05), folder=folder, evaluate=evaluate)
    (folder / "weights.txt").write_text(trained.fingerprint())


def rows(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def start(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(folder)
            code = 0
        finally:
            os._exit(code)
    return child


def main(folder: Path, kills: int, seed: int) -> None:
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports seconds' worth of torch, once for all runs
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(1, STEPS), kills - 1))
    killed = []
    for moment in [0, *moments]:  # the first one before anything is written
        child = start(folder)
        while moment and rows(folder) < moment:
            time.sleep(0.0002)
        time.sleep(rng.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        partial = [path.name for path in folder.glob(".*.partial")] if folder.exists() else []
        killed.append({"signal": status & 127, "rows": rows(folder), "partial": len(partial)})
    _, status = os.waitpid(start(folder), 0)
    print(json.dumps({"killed": killed, "last": status}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
