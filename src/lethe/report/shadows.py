"""The table of a U-LiRA run: what population attacks and likelihood-ratio attacks tell of every method."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lethe.data.atomic import write_json, write_text
from lethe.report.markdown import plain
from lethe.report.numbers import interval, number, printable, share
from lethe.runs.shadows import CAP, ORIGINAL, RETRAINED, Method, Shadows
from lethe.scoring.lira import Attack, Estimate

ATTACKS = {"population": "Population", "lira": "LiRA", "ulira": "U-LiRA", "matched": "U-LiRA, matched"}
COMPETITION = 512  # models a side in the NeurIPS 2023 competition
READING = (
    "Accuracy of telling members from others, both equally many; 0.5 is chance, and the ideal. *Population* is one "
    "threshold on the loss for all points (MUFAC's logistic regression): what it does not see may still be there. "
    "*LiRA* compares the unlearned model's confidence in each point with that of models plainly trained with it and "
    "without it. *U-LiRA* knows the method: was the point trained on and unlearned, or was the model retrained without "
    "it? *Matched* asks the same of models that are all unlearned, of this point or of others: what it finds is "
    "knowledge of the point, while U-LiRA also sees that a model was not retrained. The brackets hold 95 % intervals "
    "by a bootstrap over pairs of target models and over points; shadow models and targets are apart."
)
FORGETTING = (
    "F is the forgetting quality of the NeurIPS 2023 competition, 1 the best; {models} models a side stand for the "
    "competition's {wanted}, each with a request of its own. The best of many rules on few models sees a difference "
    "where there is none, so F is to be read beside that of retraining; *at least* counts each rule by the least "
    "that its error rates prove (Clopper-Pearson, 95 %), so the true F may be as high. The score is F times the ratios "
    "of retain and test accuracy to those of retrained models. AIN is the number of steps of training on its request "
    "after which a target model's loss on it is within 5 % of the original's, over those that a retrained model needs "
    "in the same order of records: 1 is the ideal, far below 1 the model remembers. ≥ and ≤ mark an index of which "
    "some runs of the unlearned or of the retrained models were cut off at {cap} steps."
)


def write_shadows(found: Shadows, folder: str | Path) -> Path:
    """Write `results.json` and `ulira.md`.

    Returns:
        The path of `ulira.md`.
    """
    write_json(Path(folder) / "results.json", asdict(found), nan="null")
    return write_text(Path(folder) / "ulira.md", shadows_markdown(found))


def shadows_markdown(found: Shadows) -> str:
    """The run as a page."""
    accuracy = [["Method", *ATTACKS.values(), "Told"]]
    accuracy += [
        [one.call, *(_cell(_attack(one, name).accuracy) for name in ATTACKS), _told(one)] for one in found.methods
    ]
    further = [["Method", *(f"{head}, {what}" for head in ATTACKS.values() for what in ("AUC", "TPR at 1 % FPR"))]]
    further += [
        [one.call, *(_cell(value) for name in ATTACKS for value in _attack(one, name)[1:3])] for one in found.methods
    ]
    forgot = [["Method", "F", "F, at most", "Score", "AIN", "Retain accuracy", "Test accuracy", "Seconds"]]
    forgot += [
        [
            one.call,
            *map(number, (one.quality, one.quality_bound, one.score)),
            _anamnesis(one),
            *map(number, (one.retain, one.test, one.seconds)),
        ]
        for one in found.methods
    ]
    few = (
        []
        if all(_attack(one, name).resolved for one in found.methods for name in ATTACKS)
        else ["**Too few models and points to see a false positive rate of 1 %.**"]
    )
    told = FORGETTING.format(models=(found.shadows + found.targets) // 2, wanted=COMPETITION, cap=CAP)
    parts = [f"# U-LiRA: {plain(found.benchmark)}", _counts(found), _table(accuracy), READING, *few, _table(further)]
    return "\n\n".join([*parts, _table(forgot), told]) + "\n"


def shadows_table(found: Shadows) -> Table:
    """The run for a terminal: the accuracy of every attack, F and the accuracies."""
    table = Table(
        title=Text(f"U-LiRA: {printable(found.benchmark)}", "bold"), title_justify="left", box=SIMPLE_HEAD,
        caption=Text(f"{_counts(found)}\nAccuracy of each attack; 0.5 is chance.", "dim"), caption_justify="left",
        padding=0,
    )  # fmt: skip
    table.add_column("method", overflow="fold")
    for name in [
        *(head.lower().replace("lira", "LiRA").replace("u-", "U-") for head in ATTACKS.values()),
        "AIN",
        "F",
        "test",
    ]:
        table.add_column(name, justify="right", overflow="fold")
    for one in found.methods:
        cells = [_cell(_attack(one, name).accuracy) for name in ATTACKS]
        table.add_row(printable(one.call), *cells, share(one.ain.value), share(one.quality), share(one.test))
    return table


def _attack(one: Method, name: str) -> Attack:
    return getattr(one, name)


def _told(one: Method) -> str:
    """Which attacks surely do better than chance."""
    return ", ".join(head for name, head in ATTACKS.items() if _attack(one, name).accuracy.low > 0.5) or "none"


def _anamnesis(one: Method) -> str:
    return f"{_cell(one.ain)}{' ≥' * bool(one.censored[0])}{' ≤' * bool(one.censored[1])}"


def _cell(value: Estimate) -> str:
    return f"{number(value.value)} {interval(value.low, value.high)}"


def _table(rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in [rows[0], rule, *rows[1:]])


def _escaped(text: str) -> str:
    """Intervals stay as they are: only names need escaping."""
    return text if text[:1] in "[0123456789-−–" else plain(text)


def _counts(found: Shadows) -> str:
    known = {who: [found.accuracies[f"{what}, {who}"] for what in ("retain", "test")] for who in (ORIGINAL, RETRAINED)}
    told = "; ".join(f"{who} is right on {share(a)} of retain and {share(b)} of test" for who, (a, b) in known.items())
    return (
        f"{found.shadows} shadow and {found.targets} target models, each trained on {found.forget} of {found.points} "
        f"points beside the same {found.retain} retain records and asked to forget them; {told}."
    )
