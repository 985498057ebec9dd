"""Checkpoints of a training run: one safetensors file, replaced atomically.

It holds the tensors that move (trainable weights and buffers), the optimiser's state and, as metadata, the position and
the history. Random state needs no entry: every draw is a function of (seed, step).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lethe.data.atomic import write_bytes
from lethe.distributed import Replicas, like, whole
from lethe.errors import InputError

if TYPE_CHECKING:
    from lethe.train import History


class Checkpoint:
    """Save and restore one run; `identity` is a text that must be equal for a run to be resumed."""

    def __init__(self, folder: str | Path, identity: str, replicas: Replicas) -> None:
        self.path = Path(folder) / "checkpoint.safetensors"
        self.best = Path(folder) / "best.safetensors"
        self.identity = hashlib.sha256(identity.encode()).hexdigest()
        self.replicas = replicas

    def save(
        self,
        module: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        history: History,
    ) -> None:
        """Write the run's state; an earlier one is replaced in one step."""
        tensors = {f"model.{name}": whole(tensor) for name, tensor in _moving(module, parameters).items()}
        for name, parameter in parameters.items():
            for key, value in optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{key}.{name}"] = whole(value)
        self._write(self.path, tensors, {"identity": self.identity, "history": json.dumps(asdict(history))})

    def load(
        self,
        module: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        history: History,
    ) -> int:
        """Restore the state into the arguments; returns the number of steps done (0 without a checkpoint).

        Raises:
            InputError: If the file belongs to another run or is damaged.
        """
        if not self.path.exists():
            return 0
        tensors, metadata = self._read(self.path)
        _restore(module, parameters, tensors)
        for name, parameter in parameters.items():
            for key in {entry.split(".", 2)[1] for entry in tensors if entry.startswith("optimizer.")}:
                value = tensors.get(f"optimizer.{key}.{name}")
                if value is not None:
                    optimizer.state[parameter][key] = value if key == "step" else like(value, parameter)
        saved: dict[str, Any] = json.loads(metadata["history"])
        history.losses = saved["losses"]
        history.evaluations = [(step, value) for step, value in saved["evaluations"]]
        history.steps, history.best_step = saved["steps"], saved["best_step"]
        return history.steps

    def save_best(self, module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        """Keep the present weights as the best so far."""
        tensors = {f"model.{name}": whole(tensor) for name, tensor in _moving(module, parameters).items()}
        self._write(self.best, tensors, {"identity": self.identity})

    def load_best(self, module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        """Go back to the best weights."""
        if self.best.exists():
            _restore(module, parameters, self._read(self.best)[0])

    def _write(self, path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
        if self.replicas.rank == 0:
            data = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            write_bytes(path, save(data, metadata=metadata))
        self.replicas.barrier()

    def _read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it to start the run anew.") from error
        if metadata.get("identity") != self.identity:
            raise InputError(f"{path} belongs to a run with other settings; choose another folder or delete it.")
        return tensors, metadata


def _moving(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    buffers = module.state_dict().keys() & dict(module.named_buffers()).keys()
    return {**parameters, **{name: tensor for name, tensor in module.named_buffers() if name in buffers}}


def _restore(module: nn.Module, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, target in _moving(module, parameters).items():
            target.copy_(like(tensors[f"model.{name}"], target))
