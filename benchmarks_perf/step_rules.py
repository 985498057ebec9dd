"""What each step rule costs beside the plain step: ratios within one run, for an NPO step with a retain term.

    python benchmarks_perf/step_rules.py [--rounds 9] [--steps 5]

The setting is that of train_step.py (a Llama of 4 layers and 128 channels, 8 forget and 8 retain questions per step,
one thread). In every round all rules take turns, in an order that rotates, each on a copy of the same model; reported
are medians over rounds of the ratio to the round's plain run, in seconds and in processor seconds (which other programs
on the machine disturb less). A plain step makes 2 forward and backward passes, SAM 3; it may take 2.2 times as long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from train_step import BATCH, CLIP, LR, setting, terms  # sets the threads before torch is imported

from lethe.descent.steps import cr, gp, plain, rs, sam, wa
from lethe.train import Recipe, train

RULES = {
    "plain": plain(), "sam": sam(rho=0.01), "rs, 3 draws": rs(sigma=1e-4, draws=3), "gp": gp(weight=0.1),
    "cr": cr(weight=0.1), "cr, following": cr(weight=0.1, direction="following"), "wa": wa(start=1, every=5),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5)
    asked = parser.parse_args()
    model, request = setting()
    made = terms("npo", model, request)
    recipe = Recipe(lr=LR, steps=asked.steps, batch_size=BATCH, clip=CLIP)
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in RULES}
    for turn in range(asked.rounds + 1):
        names = list(RULES)
        taken: dict[str, tuple[float, float]] = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            learner = model.copy()
            wall, used = time.perf_counter(), time.process_time()
            train(learner, made, recipe, step_rule=RULES[name])
            taken[name] = time.perf_counter() - wall, time.process_time() - used
        for name in names if turn else ():  # the first round only warms up
            ratios[name].append((taken[name][0] / taken["plain"][0], taken[name][1] / taken["plain"][1]))
    result = {
        name: {
            "seconds": round(statistics.median(wall for wall, _ in values), 3),
            "processor_seconds": round(statistics.median(used for _, used in values), 3),
        }
        for name, values in ratios.items()
    }
    held = result["sam"]["processor_seconds"] <= 2.2
    told = {"benchmark": "step_rules", "rounds": asked.rounds, "steps": asked.steps, "over_plain": result}
    print(json.dumps(told | {"sam_at_most_2.2": held}))


if __name__ == "__main__":
    main()
