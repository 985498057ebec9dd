"""Checkpoints of a training run: one safetensors file, replaced atomically.

It holds the tensors that move (trainable weights and buffers), the optimiser's state, what the run carries beside them
(averaged weights, a dual variable) and, as metadata, the position and the history. Random state needs no entry: every
draw is a function of (seed, step). Sharded and whole runs write the same file, so one can continue the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lethe.data.atomic import write_bytes
from lethe.data.content import digest
from lethe.distributed import Replicas, like, whole
from lethe.errors import InputError

if TYPE_CHECKING:
    from lethe.models.base import Model
    from lethe.train import History, Recipe, Selection, Term

BEST = "best.safetensors"


def fingerprint(model: Model, terms: Sequence[Term], recipe: Recipe, selection: Selection, extra: str) -> str:
    """A hash of all that decides a run's result; neither how often it is saved nor over how many processes it runs."""
    settings = {k: v for k, v in asdict(recipe).items() if k not in ("checkpoint_every", "parallel")}
    data = [(t.name, t.per, repr(t.weight), t.role, t.pool, [e.inputs for e in t.examples]) for t in terms]
    mask = {name: tensor.cpu() for name, tensor in selection.mask.items()}
    return digest([settings, data, model.fingerprint(), list(selection.parameters), mask, extra])


@dataclass
class State:
    """What a run consists of at any moment, beside its history; all of it is written and filled in place."""

    module: nn.Module
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    carried: dict[str, Tensor] = field(default_factory=dict)

    @property
    def moving(self) -> dict[str, Tensor]:
        """Trainable weights and buffers."""
        kept = self.module.state_dict().keys()  # buffers that are not kept are made anew with the module
        return {**self.parameters, **{name: b for name, b in self.module.named_buffers() if name in kept}}


class Checkpoint:
    """Save and restore one run; without a folder only the best weights, in memory.

    `identity` is a text that must be equal for a run to be resumed.
    """

    def __init__(self, folder: str | Path | None, identity: str, replicas: Replicas) -> None:
        self.path = Path(folder) / "checkpoint.safetensors" if folder else None
        self.identity, self.replicas = identity, replicas
        self._best: dict[str, Tensor] = {}

    def save(self, state: State, history: History) -> None:
        """Write the run's state; an earlier one is replaced in one step."""
        if self.path is None:
            return
        tensors = {f"model.{name}": tensor for name, tensor in state.moving.items()}
        tensors |= {f"carried.{name}": tensor for name, tensor in state.carried.items()}
        for name, parameter in state.parameters.items():
            own = state.optimizer.state.get(parameter, {})
            tensors |= {f"optimizer.{key}.{name}": value for key, value in own.items() if isinstance(value, Tensor)}
        self._write(self.path, tensors, vars(history))

    def load(self, state: State, history: History) -> int:
        """Restore the run's state into the arguments; returns the number of steps done (0 without a checkpoint).

        Raises:
            InputError: If the file belongs to another run or is damaged.
        """
        if self.path is None or not self.path.exists():
            return 0
        with self._open(self.path) as (file, saved):
            _fill("model", state.moving, file)
            _fill("carried", state.carried, file)
            for entry in file.keys():  # noqa: SIM118
                part, key, name = [*entry.split(".", 2), ""][:3]
                if part == "optimizer":
                    value, parameter = file.get_tensor(entry), state.parameters[name]
                    # AdamW keeps its step counter on the CPU, whatever the weights' device.
                    state.optimizer.state[parameter][key] = value if key == "step" else like(value, parameter)
        history.losses = saved["losses"]
        history.evaluations = [(step, value) for step, value in saved["evaluations"]]
        history.steps, history.best_step = saved["steps"], saved["best_step"]
        return history.steps

    def save_best(self, state: State) -> None:
        """Keep the present weights as the best so far."""
        if self.path is None:
            self._best = {name: tensor.detach().clone() for name, tensor in state.moving.items()}
        else:
            best = {f"model.{name}": tensor for name, tensor in state.moving.items()}
            self._write(self.path.with_name(BEST), best, {})

    def load_best(self, state: State) -> None:
        """Go back to the best weights."""
        if self.path is None:
            with torch.no_grad():
                for name, target in state.moving.items():
                    target.copy_(self._best[name])
        else:
            with self._open(self.path.with_name(BEST)) as (file, _):
                _fill("model", state.moving, file)

    def _write(self, path: Path, tensors: Mapping[str, Tensor], history: Mapping[str, Any]) -> None:
        data = {}
        for name, tensor in tensors.items():
            full = whole(tensor.detach())  # collective, one tensor at a time: only the writer ever holds them all
            if self.replicas.rank == 0:
                data[name] = full.cpu().contiguous()
        if self.replicas.rank == 0:
            # One entry: safetensors writes several in an order of its own, and equal runs shall leave equal bytes.
            write_bytes(path, save(data, metadata={"run": json.dumps({"identity": self.identity, **history})}))
        self.replicas.barrier()

    @contextmanager
    def _open(self, path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
        try:
            with safe_open(path, framework="pt") as file:
                run = json.loads((file.metadata() or {}).get("run", "{}"))
                if run.get("identity") != self.identity:
                    raise InputError(
                        f"{path} belongs to a run with other data, weights or settings; "
                        "choose another folder or delete it."
                    )
                yield file, run
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it to start the run anew.") from error


def _fill(part: str, targets: Mapping[str, Tensor], file: Any) -> None:
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(like(file.get_tensor(f"{part}.{name}"), target))
