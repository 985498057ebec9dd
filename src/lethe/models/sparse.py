"""Fixed sparse matrices that dense ones are multiplied with, there and back."""

from __future__ import annotations

import copy
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

with warnings.catch_warnings():  # torch says once per process that its CSR tensors are young
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([0])[:0], torch.ones(0), (1, 1), check_invariants=False)


class _Spread(torch.autograd.Function):
    """A fixed sparse matrix times a dense one, differentiable as often as is asked: its transpose lies ready."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Sparse, back: bool) -> Tensor:
        ctx.matrix, ctx.back = matrix, back
        kind = dense.device.type
        with torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext():
            sparse = matrix.csr(back)
            return (sparse @ dense.to(sparse.dtype)).to(dense.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None]:
        return _Spread.apply(gradients[0], ctx.matrix, not ctx.back), None, None


class Sparse(nn.Module):
    """A fixed sparse matrix (R, C) and its transpose, both as CSR, in int32 where that is enough.

    Args:
        shape: (R, C).
        keys: Row * C + column of every entry, ascending and distinct, (E,).
        values: The entries (E,).
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    rows_back: Tensor
    columns_back: Tensor
    values_back: Tensor
    order: Tensor  # (E,) positions of the transpose's entries

    def __init__(self, shape: tuple[int, int], keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.shape = shape
        row, column = keys // shape[1], keys % shape[1]
        order = column.argsort(stable=True)
        short = torch.int32 if max(*shape, len(keys)) < 2**31 else torch.int64
        parts = {
            "rows": _starts(row, shape[0]), "columns": column,
            "rows_back": _starts(column, shape[1]), "columns_back": row[order], "order": order,
        }  # fmt: skip
        for name, part in parts.items():
            self.register_buffer(name, part.to(short), persistent=False)
        for name, part in (("values", values), ("values_back", values[order])):
            self.register_buffer(name, part, persistent=False)

    def weighing(self, values: Tensor) -> Sparse:
        """The same entries with other values (E,), in the order of the keys."""
        twin = copy.copy(self)
        twin._buffers = self._buffers | {"values": values, "values_back": values[self.order]}
        return twin

    def of(self, row: int) -> Tensor:
        """The columns of one row's entries, ascending."""
        return self.columns[int(self.rows[row]) : int(self.rows[row + 1])].long()

    def forward(self, dense: Tensor) -> Tensor:
        """(C, D) -> (R, D)."""
        return _Spread.apply(dense, self, False)

    def transposed(self, dense: Tensor) -> Tensor:
        """(R, D) -> (C, D)."""
        return _Spread.apply(dense, self, True)

    def csr(self, back: bool = False) -> Tensor:
        """The matrix, or its transpose, as torch's own; there is no half-precision product on a CPU."""
        if back:
            parts, shape = (self.rows_back, self.columns_back, self.values_back), self.shape[::-1]
        else:
            parts, shape = (self.rows, self.columns, self.values), self.shape
        values = parts[2].to(torch.promote_types(parts[2].dtype, torch.float32))
        return torch.sparse_csr_tensor(parts[0], parts[1], values, shape, check_invariants=False)


def _starts(ends: Tensor, count: int) -> Tensor:
    """Where each row of a CSR matrix starts, (count + 1,)."""
    counts = torch.bincount(ends, minlength=count).cumsum(0)
    return torch.cat([counts.new_zeros(1), counts])
