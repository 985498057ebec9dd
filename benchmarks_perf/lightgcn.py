"""LightGCN in Lethe's training loop against plain loops around a sparse product: interactions per second, and memory.

    LETHE_TEST_DATA=FOLDER python benchmarks_perf/lightgcn.py [--rounds 7] [--users 100000] [--items 20000] [--each 10]

Two graphs: Amazon Digital Music (LETHE_TEST_DATA/cure4rec-adm/adm_10core.tsv, left out where that is not set), and a
synthetic one of 10^6 interactions of 10^5 users. Embeddings are 32 wide, two layers, BPR with one negative, AdamW, one
thread. Every step propagates over the whole graph, so that throughput is the batch size over the time of a step.

    lethe    `train` as a user calls it: plan, batches, negatives that the user has not, log
    plain    the loop that one writes down: `torch.sparse.mm` with the normalised matrix of users and items, rows and
             unchecked negatives drawn as tensors, nothing else. Of COO and CSR the faster one counts.
    mirrored the same with the one trick that the symmetric matrix allows, its own product in the backward pass

Rounds of the loops alternate on copies of one model; reported are medians over rounds, and the median of the rounds'
ratios in processor seconds, which other programs on the machine disturb less. Memory is the highest resident set of a
process that does nothing but run one of the loops on a graph read beforehand (Linux: VmHWM, reset through clear_refs).
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import torch
import torch.nn.functional as F
from large_graph import purchases
from torch import Tensor

from lethe.data.load import load_records
from lethe.descent.terms import own_loss
from lethe.models.graphs import LightGCN
from lethe.models.recommender import Interactions, Recommender
from lethe.train import Recipe, Term, train

DIM, LAYERS, LR = 32, 2, 1e-2
DATA = {"adm": (2048, 100), "synthetic": (65536, 8)}  # batch size, steps per round


class Mirrored(torch.autograd.Function):
    """A symmetric matrix times a dense one."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, dense: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.matrix @ gradients[0]


def edges_of(name: str, sizes: tuple[int, int, int]) -> tuple[int, int, Tensor]:
    """Number of users and items, and the interactions (2, E)."""
    if name == "synthetic":
        return sizes[0], sizes[1], torch.from_numpy(purchases(*sizes)).T.contiguous()
    file = Path(os.environ["LETHE_TEST_DATA"]) / "cure4rec-adm" / "adm_10core.tsv"
    rows = load_records(str(file), family="recommender", split="train")
    edges = torch.tensor([[row["user"], row["item"]] for row in rows]).T
    return int(edges[0].max()) + 1, int(edges[1].max()) + 1, edges


def matrix(users: int, items: int, edges: Tensor, layout: str) -> Tensor:
    """The normalised matrix of users and items, (U + I, U + I)."""
    ends = torch.cat([edges, edges.flip(0)], dim=1)
    ends[0, edges.shape[1] :] += users
    ends[1, : edges.shape[1]] += users
    roots = torch.bincount(ends[0], minlength=users + items).clamp(min=1).rsqrt()
    size = (users + items, users + items)
    made = torch.sparse_coo_tensor(ends, roots[ends[0]] * roots[ends[1]], size, check_invariants=False).coalesce()
    if layout == "coo":
        return made
    made = made.to_sparse_csr()
    short = made.crow_indices().int(), made.col_indices().int()
    return torch.sparse_csr_tensor(*short, made.values(), size, check_invariants=False)


def plain(table: Tensor, users: int, edges: Tensor, operator: Tensor, batch: int, steps: int, mirrored: bool) -> float:
    """The loop that one writes down, from a table (U + I, D); returns its last loss."""
    start, items = table.clone().requires_grad_(), len(table) - users
    optimizer = torch.optim.AdamW([start], lr=LR)
    step: Callable[[Tensor], Tensor] = functools.partial(Mirrored.apply if mirrored else torch.sparse.mm, operator)
    order, loss = torch.randperm(edges.shape[1]), start.new_zeros(())
    for number in range(steps):
        rows = order[number * batch % len(order) :][:batch]
        user, positive = edges[0, rows], edges[1, rows] + users
        negative = torch.randint(items, (len(rows),)) + users
        layer = total = start
        for _ in range(LAYERS):
            layer = step(layer)
            total = total + layer
        final = total / (LAYERS + 1)
        margin = (final[user] * (final[positive] - final[negative])).sum(1)
        loss = -F.logsigmoid(margin).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def loops(name: str, sizes: tuple[int, int, int], only: str = "") -> dict[str, Callable[[], Any]]:
    """The loops on one graph, ready to run; everything that is read or built beforehand is not timed."""
    torch.manual_seed(0)
    users, items, edges = edges_of(name, sizes)
    net = LightGCN(users, items, dim=DIM, layers=LAYERS)
    table, (batch, steps) = torch.cat([net.user_table.weight, net.item_table.weight]).detach(), DATA[name]
    found: dict[str, Callable[[], Any]] = {}
    if only in ("", "lethe"):
        net.set_edges(edges)
        model = Recommender(net)
        examples = Interactions(*edges.numpy())
        recipe = Recipe(lr=LR, steps=steps, batch_size=batch, optimizer="adamw", clip=None)
        found["lethe"] = lambda: train(model.copy(), [Term("train", examples, own_loss)], recipe)
    for label, layout in (("coo", "coo"), ("csr", "csr"), ("mirrored", "csr")):
        if only in ("", label):
            operator = matrix(users, items, edges, layout)
            found[label] = functools.partial(plain, table, users, edges, operator, batch, steps, label == "mirrored")
    return found


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - cpu


def speed(name: str, sizes: tuple[int, int, int], rounds: int) -> None:
    """Median seconds of every loop, and how Lethe's stands to the others."""
    runs = loops(name, sizes)
    for run in runs.values():
        run()  # warm
    found = {label: [] for label in runs}
    for _ in range(rounds):
        for label, run in runs.items():
            found[label].append(timed(run))
    batch, steps = DATA[name]
    for label, times in found.items():
        wall, cpu = (statistics.median(one[at] for one in times) for at in (0, 1))
        rate = batch * steps / cpu
        print(f"{name:10} {label:9} {1e3 * cpu / steps:8.1f} CPU ms/step  {1e3 * wall / steps:8.1f} ms/step  "
              f"{rate:12,.0f} interactions per CPU s")  # fmt: skip
    faster = min(("coo", "csr"), key=lambda label: statistics.median(cpu for _, cpu in found[label]))
    for label, other in ((f"plain ({faster})", faster), ("mirrored", "mirrored")):
        ratios = [theirs[1] / own[1] for own, theirs in zip(found["lethe"], found[other], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"{name:10} throughput of lethe / {label}: {middle:.2f}  (rounds {low:.2f} to {high:.2f})", flush=True)


def memory(name: str, sizes: tuple[int, int, int], label: str) -> None:
    """Highest resident set of this process while the loop runs, bytes."""
    run = loops(name, sizes, label)[label]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    run()
    print(1024 * int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]))


def main() -> None:
    """Run everything, or one measurement of memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=10, help="interactions per user")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sizes = (given.users, given.items, given.each)
    if given.memory:
        memory(given.memory[0], sizes, given.memory[1])
        return
    load = os.getloadavg()[0]
    print(f"load {load:.1f} on {os.cpu_count()} processors")
    for name in DATA:
        if name == "adm" and "LETHE_TEST_DATA" not in os.environ:
            print("adm: LETHE_TEST_DATA is not set, left out")
            continue
        speed(name, sizes, given.rounds)
        for label in ("lethe", "coo", "csr", "mirrored"):
            done = subprocess.run(
                [sys.executable, "-W", "ignore", *sys.argv, "--memory", name, label],
                env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            print(f"{name:10} {label:9} {int(done.stdout) / 2**20:8.0f} MiB peak", flush=True)


if __name__ == "__main__":
    main()
