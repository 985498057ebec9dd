"""Every method that keeps checkpoints, killed on purpose: `python -m tests.contracts.killed_methods FOLDER [every]`.

A run is ordinary, on adapters, under a mask, or with averaged weights: one of these per method in turn, or `every` of
them. Each goes on in a process of its own that SIGKILL ends once a checkpoint is written. The same call then goes on in
the same folder, and must end with the bytes of a run that nothing disturbed. Printed as JSON: per run whether it was
killed, and whether it is equal. Forked processes save the seconds that an import of torch takes; nothing of a run
survives in them but what it has written.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tests.contracts.cases import cards, families, model, requests

from lethe.errors import InputError
from lethe.registry import Card, bind

STEPS = 20
FAMILY = "language"
RATES = ("lr", "ascent_lr", "reinforce_lr")
LENGTHS = ("steps", "epochs", "ascent_epochs")
AXES: dict[str, dict[str, Any]] = {
    "all": {},
    "lora": {"where": "lora:rank=2"},
    "masked": {"where": "saliency:keep=0.5", "step": "sam:rho=0.05"},
    "averaged": {"step": "wa:start=2,every=1"},
}


def training() -> list[Card]:
    """The methods for this family that train: those with a learning rate."""
    return [card for card in cards("method") if FAMILY in families(card) and set(RATES) & set(card.options())]


def runs(every: bool) -> Iterator[tuple[str, Card, dict[str, Any]]]:
    """Name, method and options of every run."""
    for number, card in enumerate(training()):
        # With one forget batch per epoch an epoch is a step, whatever the method calls its length.
        given = {"batch_size": 2, "checkpoint_every": 1}
        given |= {name: 1e-3 for name in RATES if name in card.options()}
        given |= {next(name for name in LENGTHS if name in card.options()): STEPS}
        composes = "where" in card.options() and card.level != "retraining"
        names = list(AXES) if composes else ["all"]
        for name in names if every else [names[number % len(names)]]:
            yield f"{card.name} {name}", card, given | AXES[name]


def run(card: Card, options: dict[str, Any], folder: Path) -> str:
    """The fingerprint of what comes out."""
    torch.manual_seed(0)
    made = card.function(model(FAMILY), requests(FAMILY)[0], **bind(card.function, {**options, "folder": folder}))
    return made.fingerprint()


def killed(card: Card, options: dict[str, Any], folder: Path) -> bool:
    """A process of its own, ended as soon as it has written a checkpoint; whether it was still running then."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(card, options, folder)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    while not list(folder.rglob("checkpoint.safetensors")):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, "the run ended with an error"
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(folder: Path, every: bool) -> None:
    found: dict[str, dict[str, Any]] = {}
    for number, (name, card, options) in enumerate(runs(every)):
        whole, broken = folder / f"{number}-whole", folder / f"{number}-broken"
        try:
            expected = run(card, options, whole)
        except InputError as refusal:  # what does not compose says so
            found[name] = {"refused": str(refusal)}
            continue
        was = killed(card, options, broken)
        found[name] = {"killed": was, "equal": run(card, options, broken) == expected}
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    main(Path(sys.argv[1]), sys.argv[2:] == ["every"])
