"""A training run that is killed on purpose; `python -m tests.train.killed_run FOLDER KILLS SEED KIND`.

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

from lethe.descent.steps import sam, wa
from lethe.methods.pdu import Dual
from lethe.models.base import Batch, Model, per_example
from lethe.models.classifier import Classifier
from lethe.train import Recipe, Term, train

STEPS = 150
KINDS = ("displaced", "carried")  # SAM and the best weights; averaged weights and a dual variable


def model() -> Classifier:
    """With dropout (random draws) and running statistics (buffers that move)."""
    return Classifier(
        tiny.drawn(
            lambda: nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
        )
    )


def run(folder: Path, kind: str) -> None:
    """One whole run, from whatever the folder holds; the last thing it writes is the fingerprint of the weights."""
    trained = model()
    forget, retain = tiny.features(12, 1), tiny.features(30, 2)
    examples = trained.encode(forget)
    reference = per_example(trained, examples)

    def leave(model: Model, batch: Batch) -> Tensor:
        return (reference[batch.index] - model.loss(batch)).exp()

    def evaluate(model: Model) -> float:
        return float(per_example(model, model.encode(retain)).mean())

    carried = kind == "carried"
    dual = Dual("retain", bound=1.0, start=0.05, rate=0.5, warmup_epochs=2)  # on its way it is cut off at 0
    terms = [
        Term("forget", examples, leave, role="forget"),
        Term("retain", trained.encode(retain), lambda m, b: m.loss(b), per="token", weight=dual if carried else 1.0),
    ]
    recipe = Recipe(
        lr=0.01, steps=STEPS, batch_size=8, accumulate=2, schedule="cosine", weight_decay=0.01, clip=1.0,
        checkpoint_every=3, evaluate_every=11, keep="last" if carried else "best",
    )  # fmt: skip
    rule = wa(start=20, every=2) if carried else sam(rho=0.05)
    train(trained, terms, recipe, step_rule=rule, folder=folder, evaluate=evaluate)
    (folder / "weights.txt").write_text(trained.fingerprint())


def rows(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def start(folder: Path, kind: str) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(folder, kind)
            code = 0
        finally:
            os._exit(code)
    return child


def main(folder: Path, kills: int, seed: int, kind: str) -> None:
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports seconds' worth of torch, once for all runs
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(1, STEPS), kills - 1))
    killed = []
    for moment in [0, *moments]:  # the first one before anything is written
        child = start(folder, kind)
        while moment and rows(folder) < moment:
            time.sleep(0.0002)
        time.sleep(rng.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        partial = [path.name for path in folder.glob(".*.partial")] if folder.exists() else []
        killed.append({"signal": status & 127, "rows": rows(folder), "partial": len(partial)})
    _, status = os.waitpid(start(folder, kind), 0)
    print(json.dumps({"killed": killed, "last": status}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
