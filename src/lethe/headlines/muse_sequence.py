"""MUSE's sixth criterion: what one request after another costs."""

from dataclasses import replace

import numpy as np

from lethe.benchmarks.muse import CALLS, PRESETS, criteria, muse
from lethe.evidence import observe
from lethe.headlines.muse_scaling import FOLDS, METHODS
from lethe.measure import compute
from lethe.registry import find, headline
from lethe.scoring.muse import Criteria, check_sequence, trends
from lethe.worlds.models import news_model


@headline(
    paper="2407.06460",
    expects={
        "slope of utility, GradDiff": ("<=", 0.0),
        "slope of utility, NPO": ("<=", 0.0),
        "utility after the fourth request over that after the first, GradDiff": ("<=", 0.9),
        "utility after the fourth request over that after the first, NPO": ("<=", 0.9),
    },
)
def muse_sequence(*, seed: int) -> dict[str, float]:
    """Request after request, utility falls: methods that serve one of them well do not sustain four.

    The news world, four requests for one fold each (30 texts) and always the same 30 texts to keep; a request starts
    from the model that the one before has left. After each, x100: VerbMem, KnowMem and PrivLeak on all that has been
    asked for so far, and utility, which is KnowMem on the retain set. PrivLeak is read against a model that has read
    none of the four folds. Slopes are those of the least-squares line, points per request. VerbMem of the first fold
    says whether later requests bring it back.
    """
    never_read = news_model(FOLDS, 1, world_seed=seed)
    tasks = [muse(split=f"sust_{fold}", seed=seed) for fold in FOLDS]
    target = tasks[0].target(0)
    figures: dict[str, float] = {}
    for name, method in METHODS.items():
        model, models = target, list[Criteria]()
        begun, ended = list[str](), list[str]()
        for fold, task in zip(FOLDS, tasks, strict=True):
            begun.append(model.fingerprint())
            model = find("method", method).function(model, replace(task.request, seed=seed), **PRESETS[method])
            ended.append(model.fingerprint())
            seen, control = (observe(one, task.probes, task.spec) for one in (model, never_read))
            models.append(criteria(seen, [control]))
            figures |= {f"{what}, {name}, {fold} requests": v for what, v in zip(CALLS, models[-1], strict=True)}
            first = [record.get("fold") == 1 for record in task.probes["verbmem"]]
            items = np.array(compute("verbmem:set=verbmem", seen).items)
            figures[f"VerbMem of the first fold, {name}, {fold} requests"] = 100 * float(items[first].mean())
        check_sequence(target.fingerprint(), begun, ended)
        course = trends(FOLDS, models)
        figures |= {f"slope of {what}, {name}": one.slope for what, one in zip(CALLS, course.values(), strict=True)}
        kept = course["utility"].kept
        figures[f"utility after the fourth request over that after the first, {name}"] = (
            float("nan") if kept is None else kept
        )
    return figures
