"""Several processes, one update: replicated (DDP) or sharded (FSDP2) under `torchrun`.

Every process knows the whole step (the data plan is a function of the seed), takes its share of the rows and divides by
the counts of the whole effective batch; gradients are therefore summed, never averaged, over processes. Replication
sums after the last backward pass of the step, which stays right for step rules that need several passes (SAM).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lethe.errors import InputError


class Replicas:
    """The processes of one training run; a single process is the case `count == 1`."""

    def __init__(self, parallel: Literal["none", "ddp", "fsdp"]) -> None:
        self.parallel = parallel if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "none"
        if parallel == "none" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("torchrun started several processes, but parallel is none: choose ddp or fsdp.")
        if self.parallel != "none" and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        self.rank = dist.get_rank() if self.parallel != "none" else 0
        self.count = dist.get_world_size() if self.parallel != "none" else 1
        # FSDP's reduce-scatter averages; scaling the loss turns the average back into the sum.
        self.loss_scale = self.count if self.parallel == "fsdp" else 1

    def working_module(self, module: nn.Module) -> nn.Module:
        """The module to train: the given one, or a sharded copy of it (see `write_back`)."""
        if self.parallel != "fsdp":
            return module
        from torch.distributed.fsdp import fully_shard

        sharded = copy.deepcopy(module)
        for child in sharded.modules():
            if isinstance(child, nn.ModuleList):
                for block in child:
                    fully_shard(block)
        fully_shard(sharded)
        return sharded

    def write_back(self, working: nn.Module, module: nn.Module) -> None:
        """Gather a sharded copy's weights into the original module, one tensor at a time."""
        if working is module:
            return
        target = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():
            for name, tensor in [*working.named_parameters(), *working.named_buffers()]:
                target[name].copy_(whole(tensor))

    def reduce(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over replicas (sharded ones are reduced by FSDP itself)."""
        if self.parallel == "ddp":
            pending: list[Any] = []
            for parameter in parameters:
                # A parameter without gradient here may have one elsewhere: all take part in every reduction.
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                pending.append(dist.all_reduce(parameter.grad, async_op=True))
            for work in pending:
                work.wait()

    def sum(self, value: float) -> float:
        """A number added up over the processes."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=_device())
        dist.all_reduce(total)
        return float(total)

    def clip(self, parameters: list[nn.Parameter], largest: float) -> float:
        """Clip the joint gradient norm of all (also sharded) parameters; returns the norm before."""
        return float(whole(nn.utils.clip_grad_norm_(parameters, largest)))

    def barrier(self) -> None:
        """Wait for all."""
        if self.count > 1:
            dist.barrier()


def whole(tensor: Tensor) -> Tensor:
    """The full tensor behind a shard; any other tensor as it is. Collective: call it on every process."""
    gather = getattr(tensor, "full_tensor", None)
    return gather() if gather is not None else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """A full tensor laid out as `model` is (sharded if that is)."""
    mesh = getattr(model, "device_mesh", None)
    if mesh is None or tensor.shape != model.shape:
        return tensor.to(model.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(_device()), mesh, model.placements)  # pyright: ignore[reportAttributeAccessIssue]


def sharded(parameters: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters that this process holds only a part of."""
    return [
        name
        for name, parameter in parameters.items()
        if hasattr(parameter, "to_local") and parameter.to_local().numel() < parameter.numel()  # pyright: ignore
    ]


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
