"""MUSE's warning about forgetting too much: what ascent wipes out, it gives away."""

from lethe.benchmarks.muse import PRESETS, criteria, muse
from lethe.evidence import observe
from lethe.measure import compute
from lethe.registry import find, headline

LONGER = {**PRESETS["grad_diff"], "epochs": 10, "retain_weight": 3.0}
METHODS = {
    "GA": ("ga", PRESETS["ga"]),
    "GradDiff": ("grad_diff", PRESETS["grad_diff"]),
    "GradDiff, driven on": ("grad_diff", LONGER),
    "NPO": ("npo", PRESETS["npo"]),
}


@headline(
    paper="2407.06460",
    expects={
        "VerbMem, target": (">=", 90.0),
        "PrivLeak, target": ("<=", -80.0),
        "size of PrivLeak, another retrained model": ("<=", 20.0),
        "VerbMem, GA": ("<=", 10.0),
        "utility over the target's, GA": ("<=", 0.3),
        "utility over the target's, GradDiff": (">=", 0.7),
        "VerbMem, GradDiff, driven on": ("<=", 15.0),
        "PrivLeak, GradDiff, driven on": (">=", 50.0),
    },
)
def muse_leakage(*, seed: int) -> dict[str, float]:
    """Where no word of the text is left, its loss tells who was to be forgotten; ascent costs the rest as well.

    The news world with one fold (30 texts) to forget. Of the target, a retrained model, gradient ascent, GradDiff and
    NPO with the options that were found on other worlds, and GradDiff at half the retain weight for two epochs more
    (driven on), all x100: VerbMem, KnowMem, PrivLeak (Min-40 %, against the retrained models; -100 is full exposure,
    above 0 the forgotten texts are less likely than texts that were never read), and utility, which is KnowMem on the
    retain set. The retrained model is read against one of another seed.
    """
    task = muse(seed=seed)
    assert task.control is not None
    target = task.target(0)
    one, other = (observe(task.control(number), task.probes, task.spec) for number in (1, 2))
    rows = {"target": criteria(observe(target, task.probes, task.spec), [one, other])}
    rows["retrained"] = criteria(one, [other])
    for name, (method, options) in METHODS.items():
        made = find("method", method).function(target, task.request, **options)
        rows[name] = criteria(observe(made, task.probes, task.spec), [one, other])
    figures = {"size of PrivLeak, another retrained model": compute("privleak", one, [other]).value}
    for name, row in rows.items():
        figures |= {f"VerbMem, {name}": row.verbmem, f"KnowMem, {name}": row.knowmem}
        figures |= {f"PrivLeak, {name}": row.privleak, f"utility, {name}": row.utility}
        figures[f"utility over the target's, {name}"] = row.utility / rows["target"].utility
    return figures
