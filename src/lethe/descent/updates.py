"""What single training steps did to the weights, kept so that it can be taken back (amnesiac unlearning)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lethe.data.atomic import write_bytes
from lethe.errors import InputError
from lethe.gradients import Gradients
from lethe.models.base import Model
from lethe.recipe import Recipe
from lethe.request import Record
from lethe.train import Done


class Ledger:
    """A step rule: the plain step, whose change of the weights is kept with the ids of the records that took part.

    Args:
        term: Name of the term whose records are counted.
        records: The records of that term, in the order of its examples.
        only: Keep the sum over the steps in which one of these ids takes part, in `state`; none keeps every step as a
            file.
        folder: Where the files go: step-000001.safetensors and so on, as large as the weights that move.
    """

    def __init__(
        self, term: str, records: Sequence[Record], *, only: Collection[str] = (), folder: str | Path | None = None
    ) -> None:
        self.term, self.ids, self.only = term, [str(record["id"]) for record in records], set(only)
        self.folder = None if folder is None else Path(folder)
        self.state: dict[str, Tensor] = {}
        self.moving: Mapping[str, Tensor] = {}
        self._rows: list[int] = []

    def __call__(self, gradients: Gradients) -> None:
        """The plain step."""
        gradients.add()
        self._rows = list(gradients.rows.get(self.term, ()))

    def begin(self, moving: Mapping[str, Tensor], recipe: Recipe, steps: int) -> None:
        """Remember where the weights stand."""
        self.moving = moving
        self.state = {f"before.{name}": tensor.detach().clone() for name, tensor in moving.items()}
        self.state |= {f"sum.{name}": torch.zeros_like(tensor) for name, tensor in moving.items() if self.only}

    def after(self, done: Done) -> None:
        """Keep what the step did."""
        ids = [self.ids[row] for row in self._rows]
        touched = not self.only.isdisjoint(ids)
        found = {}
        for name, tensor in self.moving.items():
            before = self.state[f"before.{name}"]
            if touched:
                self.state[f"sum.{name}"] += tensor.detach() - before
            if self.folder is not None:
                found[name] = (tensor.detach() - before).cpu()
            before.copy_(tensor.detach())
        if self.folder is not None:
            from safetensors.torch import save

            told = {"step": json.dumps({"step": done.step, "ids": ids})}
            write_bytes(self.folder / f"step-{done.step:06d}.safetensors", save(found, metadata=told))

    def end(self) -> None:
        """Nothing is left to do."""

    def kept(self) -> dict[str, Tensor]:
        """The sum over the steps in which one of `only` took part, by name of the weight."""
        return {name: self.state[f"sum.{name}"] for name in self.moving}


def updates_of(folder: str | Path, ids: Collection[str], model: Model) -> tuple[dict[str, Tensor], int, int]:
    """The sum of the kept steps in which one of the ids took part; how many they are; and how many were kept.

    Raises:
        InputError: If the folder holds no steps, some are missing or of another model, or an id took part in none.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(Path(folder).glob("step-*.safetensors"))
    if not files:
        raise InputError(f"{folder} holds no step-*.safetensors; train with a Ledger that writes there.")
    own = dict(model.module.state_dict())
    total: dict[str, Tensor] = {}
    met: set[str] = set()
    count = 0
    for number, path in enumerate(files, start=1):
        try:
            with safe_open(path, framework="pt") as file:
                told = json.loads((file.metadata() or {})["step"])
                if told["step"] != number:
                    raise InputError(f"{folder} lacks step {number} of {told['step']}; keep every step of a training.")
                there = set(ids).intersection(told["ids"])
                met |= there
                names = list(file.keys())
                if strange := [n for n in names if n not in own or file.get_slice(n).get_shape() != [*own[n].shape]]:
                    raise InputError(f"{path}: {strange[0]!r} is no weight of this model; give its own training's.")
                for name in names if there else ():
                    total[name] = total.get(name, torch.zeros_like(own[name])) + file.get_tensor(name).to(own[name])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is damaged ({error}); its training must be repeated.") from error
        count += bool(there)
    if missing := sorted(set(ids) - met):
        raise InputError(f"{folder}: record {missing[0]!r} took part in no step; the training was of other records.")
    return total, count, len(files)
