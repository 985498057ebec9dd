"""Several processes, one update: replicated (DDP) or sharded (FSDP2) under `torchrun`.

Every process knows the whole step (the data order is a function of the seed), takes its share of the rows and divides
by the counts of the whole effective batch; gradients are therefore summed, never averaged, over processes. Replication
sums after the backward passes instead of during them, which stays right for step rules that need several (SAM).
"""

from __future__ import annotations

import atexit
import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lethe.errors import InputError


def _leave() -> None:
    """Go together: a process that leaves while another still speaks to it can abort either of them."""
    with suppress(RuntimeError):  # the other has failed, and is gone
        if dist.get_backend() == "gloo":
            dist.monitored_barrier(timeout=timedelta(seconds=20))
    dist.destroy_process_group()


class Replicas:
    """The processes of one training run; a single process is the case `count == 1`."""

    def __init__(self, parallel: Literal["none", "ddp", "fsdp"], device: torch.device) -> None:
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        if several and parallel == "none":
            raise InputError("torchrun started several processes, but parallel is none; choose ddp or fsdp.")
        self.parallel = parallel if several else "none"
        self.device, self.rank, self.count = device, 0, 1
        if several:
            if device.type == "cuda":
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
                torch.cuda.set_device(self.device)
            if not dist.is_initialized():
                dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
                atexit.register(_leave)
            self.rank, self.count = dist.get_rank(), dist.get_world_size()
        # FSDP's reduce-scatter averages; scaling the loss turns the average back into the sum.
        self.loss_scale = self.count if self.parallel == "fsdp" else 1

    def agree(self, state: str) -> None:
        """Stop if the processes did not start from the same state: they would train on, each its own model.

        Raises:
            InputError: If a process holds another text than the first.
        """
        if self.count > 1:
            states: list[str | None] = [None] * self.count
            dist.all_gather_object(states, state)
            if len(set(states)) > 1:
                raise InputError("The processes start from different weights, data or options; give all one seed.")

    def working_module(self, module: nn.Module) -> nn.Module:
        """The module to train: the given one, or a sharded copy of it (see `write_back`)."""
        if self.parallel != "fsdp":
            return module.to(self.device)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh(self.device.type, (self.count,))
        sharded = copy.deepcopy(module).to(self.device)
        for block in _blocks(sharded):
            fully_shard(block, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        for name in getattr(module, "forward_methods", ()):  # weights are gathered around these calls, too
            register_fsdp_forward_method(sharded, name)
        return sharded

    def reshard(self, module: nn.Module) -> None:
        """Drop gathered weights that a pass without a backward pass left behind: they would hide later changes."""
        if self.parallel == "fsdp":
            from torch.distributed.fsdp import FSDPModule

            for part in module.modules():
                if isinstance(part, FSDPModule):
                    part.reshard()

    def write_back(self, working: nn.Module, module: nn.Module) -> None:
        """Bring the result into the original module, one tensor at a time."""
        target = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():
            if working is not module:
                for name, tensor in [*working.named_parameters(), *working.named_buffers()]:
                    target[name].copy_(whole(tensor))
            if self.count > 1:
                for buffer in module.buffers():  # running statistics have seen this process's rows only
                    first = buffer.to(self.device)
                    dist.broadcast(first, 0)
                    buffer.copy_(first)

    @contextmanager
    def summed(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Gradients added within the block are summed over the processes, those from before stay as they are."""
        if self.parallel != "ddp":  # FSDP reduces in its backward pass
            yield
            return
        before = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        yield
        self.reduce(parameters)
        for parameter, gradient in zip(parameters, before, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients over replicas."""
        # A parameter without gradient here may have one elsewhere; one without any stays so, as in a single process.
        used = torch.tensor(
            [parameter.grad is not None for parameter in parameters], dtype=torch.int, device=self.device
        )
        dist.all_reduce(used)
        pending: list[Any] = []
        for parameter, uses in zip(parameters, used.tolist(), strict=True):
            if uses:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                pending.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in pending:
            work.wait()

    def sum(self, value: float) -> float:
        """A number added up over the processes."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total)

    def first(self, value: float) -> float:
        """The first process's number, for decisions that all must take alike."""
        return self.sum(value if self.rank == 0 else 0.0)

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
    mesh: Any = getattr(model, "device_mesh", None)
    if mesh is None or tensor.shape != model.shape:
        return tensor.to(model.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(model.device), mesh, model.placements)  # pyright: ignore[reportAttributeAccessIssue]


def sharded(parameters: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters that this process holds only a part of."""
    local = {name: getattr(parameter, "to_local", lambda p=parameter: p)() for name, parameter in parameters.items()}
    return [name for name, parameter in parameters.items() if local[name].numel() < parameter.numel()]


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Entries of the outermost module lists: what deep networks repeat, and the unit in which weights are gathered."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)
