"""UnlearnRec and MMRecUn against retraining on published interactions: time, recall, distance of the scores.

    python benchmarks_perf/recommender_requests.py adm_10core.tsv [--split half] [--share 0.05] [--seeds 0 1 2]

What the headlines `unlearnrec_requests` and `mmrecun_gap` measure on embedded worlds, on a file or folder with the
splits train and test (CURE4Rec, MMRec, RecBole). LightGCN, its target and three retrained models are trained once and
kept in the cache (`LETHE_CACHE`). Times are processor seconds of this process, one thread, the best of three. Prints a
line of JSON per seed and claim, then the mean over the seeds with its 95 % t-interval.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from lethe.headlines.mmrecun_gap import gap_on
from lethe.headlines.unlearnrec_requests import requests_on
from lethe.registry import find
from lethe.scoring.intervals import seed_spread

CLAIMS = {"unlearnrec_requests": requests_on, "mmrecun_gap": gap_on}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="tiny, or a file or folder with the splits train and test")
    parser.add_argument("--split", default="half", help="what is forgotten, see `lethe describe shop`")
    parser.add_argument("--share", type=float, default=0.05, help="share of the users or items concerned")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    over: dict[tuple[str, str], list[float]] = {}
    for seed in given.seeds:
        task = find("benchmark", "shop").function(source=given.source, split=given.split, share=given.share, seed=seed)
        for claim in given.claims:
            figures = {name: round(value, 4) for name, value in CLAIMS[claim](task, seed).items()}
            print(json.dumps({"claim": claim, "seed": seed, "split": given.split, **figures}), flush=True)
            for name, value in figures.items():
                over.setdefault((claim, name), []).append(value)
    for (claim, name), values in over.items() if len(given.seeds) > 1 else ():
        mean = seed_spread(values)
        print(f"{claim}: {name}: {mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]")


if __name__ == "__main__":
    main()
