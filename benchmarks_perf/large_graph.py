"""Requests served on a large graph, from files to files: 10^5 users, 10^6 interactions, within 4 GB.

    python benchmarks_perf/large_graph.py [--users 100000] [--items 20000] [--each 10] [--steps 20] [--keep FOLDER]

A shop in blocks is written to files: who buys what mostly from the own block, popular items more often; one purchase of
each user is held out. LightGCN (32 wide, two layers) is trained on the rest for a few large steps. Then, each in a
process of its own:

    serve METHOD  `lethe.unlearn` on the model's folder, the file of purchases to forget (those of 100 users) and the
                  file of all others: reading and checking the records, the method, writing folder and manifest
    evaluate      Recall@20 of 1,000 sampled users on held-out purchases, and of the forgotten ones, by the metrics that
                  every other recommender is measured with: `lethe.evidence.observe` on the sampled users' records

Reported per process: seconds, processor seconds, and the highest resident set (getrusage). The script fails where a
process went beyond 4 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import torch

BLOCKS, ELSEWHERE, ZIPF = 50, 0.1, 0.8
FORGOTTEN, SAMPLED = 100, 1000  # users
LIMIT = 4 * 2**30  # bytes
TRAINING = {"lr": 5e-2, "steps": 60, "batch_size": 65536, "optimizer": "adamw", "weight_decay": 0.05}


def purchases(users: int, items: int, each: int) -> np.ndarray:
    """Distinct (user, item) pairs (N, 2), about `each` per user, in random order."""
    rng = np.random.default_rng(0)
    shelf = items // BLOCKS
    chance = (np.arange(shelf) + 5.0) ** -ZIPF
    count = int(1.25 * each * users)  # repetitions fall away
    user = rng.integers(users, size=count)
    block = np.where(rng.random(count) < ELSEWHERE, rng.integers(BLOCKS, size=count), user % BLOCKS)
    item = block * shelf + rng.choice(shelf, size=count, p=chance / chance.sum())
    keys = np.unique(user * items + item)
    keys = rng.permutation(keys)[: each * users]
    return np.stack([keys // items, keys % items], axis=1)


def write(path: Path, rows: np.ndarray) -> None:
    """A .tsv of interactions."""
    lines = "\n".join(f"{user}\t{item}" for user, item in rows.tolist())
    path.write_text(f"user\titem\n{lines}\n", encoding="utf-8")


def make(folder: Path, users: int, items: int, each: int) -> dict[str, Any]:
    """The files, and a model trained on them."""
    from lethe.descent.terms import own_loss
    from lethe.models.graphs import LightGCN
    from lethe.models.recommender import Recommender
    from lethe.train import Recipe, Term, train

    pairs = purchases(users, items, each)
    first = np.zeros(len(pairs), dtype=bool)
    first[np.unique(pairs[:, 0], return_index=True)[1]] = True
    known, held_out = pairs[~first], pairs[first]
    gone = known[:, 0] < FORGOTTEN
    sampled = (held_out[:, 0] >= FORGOTTEN) & (held_out[:, 0] < FORGOTTEN + SAMPLED)
    parts = {"forget": known[gone], "retain": known[~gone], "test": held_out[sampled]}
    parts["history"] = known[(known[:, 0] >= FORGOTTEN) & (known[:, 0] < FORGOTTEN + SAMPLED)]
    for name, rows in parts.items():
        write(folder / f"{name}.tsv", rows)
    torch.manual_seed(0)
    net = LightGCN(users, items, dim=32, layers=2)
    net.set_edges(torch.from_numpy(known).T)
    model = Recommender(net)
    records = [{"user": user, "item": item} for user, item in known.tolist()]
    train(model, [Term("train", model.encode(records), own_loss)], Recipe(**TRAINING))
    model.save(folder / "model")
    return {name: len(rows) for name, rows in parts.items()}


def serve(folder: Path, method: str, steps: int) -> dict[str, Any]:
    """A request, as a user makes it."""
    import lethe

    options: dict[str, Any] = {"steps": steps, "batch_size": 4096, "lr": 1e-2}
    forget, retain, out = folder / "forget.tsv", folder / "retain.tsv", folder / method
    lethe.unlearn(folder / "model", str(forget), str(retain), method=method, options=options, out=out)
    return {"steps": steps}


def evaluate(folder: Path, name: str) -> dict[str, Any]:
    """What is left of the forgotten purchases, and what recommendations are worth."""
    from lethe.data.load import load_records
    from lethe.evidence import observe
    from lethe.measure import compute
    from lethe.models import load

    files = {"forget": "forget", "retain": "history", "test": "test"}
    probes = {part: load_records(folder / f"{file}.tsv", family="recommender") for part, file in files.items()}
    seen = observe(load(folder / name), probes)
    return {part: round(compute(f"recall:set={part}", seen).value, 4) for part in probes}


def child(arguments: list[str], folder: Path) -> dict[str, Any]:
    """What a process of its own says at its end."""
    done = subprocess.run(
        [sys.executable, __file__, "--keep", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measured(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `run` tells, with its time and this process's highest resident set."""
    torch.set_num_threads(1)
    start, cpu = time.perf_counter(), time.process_time()
    told = run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "peak": peak, "told": told}


def main() -> None:
    """Run everything, or one part in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=11, help="purchases per user, one of them held out")
    parser.add_argument("--steps", type=int, default=20, help="steps of each method")
    parser.add_argument("--methods", nargs="+", default=["reverse_bpr", "finetune"])
    parser.add_argument("--keep", type=Path, help="folder for the files; by default a temporary one")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        kind, *name = given.part
        sizes = (given.users, given.items, given.each)
        run = {
            "make": lambda: make(given.keep, *sizes),
            "serve": lambda: serve(given.keep, name[0], given.steps),
            "evaluate": lambda: evaluate(given.keep, name[0]),
        }[kind]
        print(json.dumps(measured(run)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        sizes = [f"--{name}={getattr(given, name)}" for name in ("users", "items", "each", "steps")]
        parts = [["make"], ["evaluate", "model"]]
        parts += [[kind, method] for method in given.methods for kind in ("serve", "evaluate")]
        beyond = []
        for part in parts:
            found = child([*sizes, "--part", *part], folder)
            line = f"{found['seconds']:7.1f} s  {found['cpu']:7.1f} CPU s  {found['peak'] / 2**30:5.2f} GiB peak"
            print(f"{' '.join(part):24}{line}  {found['told']}", flush=True)
            beyond += [part] if found["peak"] > LIMIT else []
        if beyond:
            raise SystemExit(f"Beyond {LIMIT / 2**30:.0f} GiB: {beyond}")


if __name__ == "__main__":
    main()
