"""MUSE's fifth criterion: what a larger forget set costs."""

from lethe.benchmarks.muse import CALLS, PRESETS, criteria, muse
from lethe.evidence import observe
from lethe.registry import find, headline
from lethe.scoring.muse import Criteria, check_fresh, trends
from lethe.worlds import news
from lethe.worlds.models import news_model

METHODS = {"GradDiff": "grad_diff", "NPO": "npo"}
FOLDS = tuple(range(1, news.FOLDS + 1))


@headline(
    paper="2407.06460",
    expects={
        "VerbMem of the target": (">=", 90.0),
        "slope of utility, GradDiff": ("<=", 0.0),
        "slope of utility, NPO": ("<=", 0.0),
    },
)
def muse_scaling(*, seed: int) -> dict[str, float]:
    """The larger the forget set, the less utility is left, though each size is unlearned afresh from the target.

    The news world with one to four folds to forget (30 texts each, nested) and always the same 30 texts to keep, by two
    methods with the options that were found on one fold of other worlds. Per size, x100: VerbMem, KnowMem and PrivLeak
    on all that was to be forgotten, and utility, which is KnowMem on the retain set. PrivLeak is read against a model
    that has read none of the four folds. Slopes are those of the least-squares line, points per fold.
    """
    never_read = news_model(FOLDS, 1, world_seed=seed)
    curves: dict[str, list[Criteria]] = {name: [] for name in METHODS}
    figures: dict[str, float] = {}
    for fold in FOLDS:
        task = muse(split=f"scal_{fold}", seed=seed)
        target = task.target(0)
        controls = [observe(never_read, task.probes, task.spec)]
        for name, method in METHODS.items():
            made = find("method", method).function(target, task.request, **PRESETS[method])
            curves[name].append(criteria(observe(made, task.probes, task.spec), controls))
        before = criteria(observe(target, task.probes, task.spec), controls)
        figures |= {f"{what} of the target": value for what, value in zip(CALLS, before, strict=True)}
        check_fresh(news_model((), 0, world_seed=seed).fingerprint(), [target.fingerprint()])
    for name, models in curves.items():
        for fold, model in zip(FOLDS, models, strict=True):
            figures |= {f"{what}, {name}, {fold} folds": value for what, value in zip(CALLS, model, strict=True)}
        course = trends(FOLDS, models).values()
        figures |= {f"slope of {what}, {name}": one.slope for what, one in zip(CALLS, course, strict=True)}
    return figures
