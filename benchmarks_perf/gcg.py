"""What the token search saves by reading the part before the searched tokens once: ratios within one run.

    python benchmarks_perf/gcg.py [--rounds 5] [--candidates 64]

The setting is that of train_step.py (a Llama of 4 layers and 128 channels, one thread). The candidates of 8 tokens
stand before the question (prefix) or behind it, where 0, 32 or 96 words come before it. In every round both ways take
turns; reported are medians over rounds of plain over cached, in seconds and in processor seconds (which other programs
on the machine disturb less), beside the ratio of the tokens read, their bound. Both must give the same losses.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial

import torch
from train_step import setting  # sets the threads before torch is imported

from lethe.descent.token_search import Frame, Position, candidate_losses, framed, placed, usable
from lethe.models.language import LanguageModel

LENGTH, RECORDS = 8, 4
CASES: dict[str, tuple[int, Position]] = {
    "prefix": (0, "prefix"),
    "suffix": (0, "suffix"),
    "suffix, 32": (32, "suffix"),
    "suffix, 96": (96, "suffix"),
}


def timed(model: LanguageModel, frames: list[Frame], rows: list[list[int]], cached: bool) -> tuple[float, float]:
    """Seconds and processor seconds of one evaluation of all candidates."""
    wall, used = time.perf_counter(), time.process_time()
    candidate_losses(model, frames, rows, cached=cached)
    return time.perf_counter() - wall, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=64)
    asked = parser.parse_args()
    model, request = setting()
    allowed = usable(model)
    drawn = torch.randint(len(allowed), (asked.candidates, LENGTH), generator=torch.Generator().manual_seed(0))
    rows = torch.tensor(allowed)[drawn].tolist()
    result = {}
    for name, (words, position) in CASES.items():
        told = " ".join(f"w{i}" for i in range(words))
        records = [{**record, "question": f"{told} {record['question']}"} for record in request.forget[:RECORDS]]
        frames = framed(model, records, allowed, partial(placed, position=position))
        torch.testing.assert_close(
            candidate_losses(model, frames, rows),
            candidate_losses(model, frames, rows, cached=False),
            rtol=0,
            atol=1e-5,
        )
        ratios = []
        for turn in range(asked.rounds):
            ways = (True, False) if turn % 2 else (False, True)
            taken = {cached: timed(model, frames, rows, cached) for cached in ways}
            ratios.append([plain / cached for plain, cached in zip(taken[False], taken[True], strict=True)])
        heads, tails = (sum(len(part) for part in parts) for parts in
                        zip(*((f.before, (*f.behind, *range(LENGTH))) for f in frames), strict=True))  # fmt: skip
        result[name] = {
            "seconds": round(statistics.median(wall for wall, _ in ratios), 2),
            "processor_seconds": round(statistics.median(used for _, used in ratios), 2),
            "tokens": round(len(rows) * (heads + tails) / (heads + len(rows) * tails), 2),
        }
    told = {"benchmark": "gcg", "rounds": asked.rounds, "candidates": asked.candidates, "plain_over_cached": result}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
