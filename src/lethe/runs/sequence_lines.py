"""O1 to O8 of the checklist, from chains of requests.

Knowledge is told as a share: 1 is what the target knows of a request, 0 what the controls know of it. The tolerances
are those of an audit of one request: a fifth of the knowledge (`LEFT`), a tenth of the utility (1 - `KEPT`). Under
several seeds the worst decides; mean and interval are told beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lethe.auditing.case import make, untested
from lethe.auditing.lines import LEFT
from lethe.auditing.utility import COLLAPSED, KEPT
from lethe.findings import Check
from lethe.runs.servings import Course, Expense, Levels
from lethe.scoring.intervals import percentile, resample, seed_spread
from lethe.scoring.recovery import MIN_SPAN, resurrection, utility_drift

LOSS = 1 - KEPT
SHARE = "share of what the target has beyond the controls"


@dataclass(frozen=True)
class Frame:
    """What shares are read against, per request: the target's knowledge and the controls' mean."""

    target: np.ndarray
    base: np.ndarray
    noise: np.ndarray  # standard deviation over the controls, 0 with less than two
    utility: float  # the target's

    @classmethod
    def of(cls, target: Levels, controls: Sequence[Levels]) -> Frame:
        """The frame of a run; without controls, 0 is what nobody knows."""
        known = np.array(target.values)
        values = np.array([one.values for one in controls]).reshape(len(controls), len(known))
        base = values.mean(axis=0) if len(controls) else np.zeros_like(known)
        return cls(known, base, values.std(axis=0, ddof=1) if len(controls) > 1 else 0 * base, target.utility)

    @property
    def known(self) -> np.ndarray:
        """Requests that the target knows beyond the controls; of no other can a share be told."""
        return self.target - self.base >= MIN_SPAN

    def shares(self, levels: Levels) -> np.ndarray:
        """Share left of every request, NaN where the target does not know it."""
        span = np.where(self.known, self.target - self.base, np.nan)
        return (np.array(levels.values) - self.base) / span

    def left(self, levels: Levels) -> float:
        """Mean share left over all requests."""
        return float(np.nanmean(self.shares(levels)))

    def kept(self, levels: Levels) -> float:
        """Utility as a share of the target's."""
        return levels.utility / self.utility if self.utility else float("nan")


@dataclass(frozen=True)
class Found:
    """A line under one seed: its value, whether that is within what is tolerated, and what else there is to say."""

    value: float
    fine: bool
    told: str
    by: str = ""  # what else it fails by, where its value is within what is tolerated


def matrix(course: Course, frame: Frame | None = None) -> np.ndarray:
    """A[i, j]: what is known of the j-th served request after the i-th step; shares where a frame is given.

    Of a chain that serves one request per step, (m, m).
    """
    order = [number for step in course.steps for number in step.served]
    rows = [np.array(step.levels.values) if frame is None else frame.shares(step.levels) for step in course.steps]
    return np.array(rows)[:, order]


def lines(
    courses: Sequence[Course], target: Levels, controls: Sequence[Levels], noise: Mapping[str, float], records: int
) -> tuple[Check, ...]:
    """O1 to O3 and O5 to O8 of one method.

    Args:
        courses: All its chains, failed ones included.
        target: The model before the first request.
        controls: Models that knew none of the requests.
        noise: Mean KL between two controls by set, nats per token.
        records: All of them, to be forgotten and to be kept.
    """
    failed = [f"seed {one.seed}, {one.kind}: {one.failure}" for one in courses if one.failure]
    frame = Frame.of(target, controls)
    names = ("O1", "O2", "O3", "O5", "O6", "O7", "O8")
    if failed:
        return tuple(untested(name, f"{len(failed)} of {len(courses)} chains failed ({failed[0]})") for name in names)
    if not frame.known.any():
        why = "the target knows none of the requests beyond the controls"
        return tuple(untested(name, why) for name in names)
    by_seed = [[one for one in courses if one.seed == seed] for seed in sorted({one.seed for one in courses})]

    def over_seeds(name: str, look: Callable[[Sequence[Course]], Found | None], limit: float, what: str) -> Check:
        found = [one for own in by_seed if (one := look(own)) is not None]
        return _worst(name, found, limit, what)

    drift = noise.get("retain")
    return (
        over_seeds("O1", lambda own: _returned(_main(own), frame), LEFT, f"largest return, {SHARE}"),
        over_seeds("O2", lambda own: _orders(own, frame), LEFT, f"range over orders of the mean {SHARE}"),
        over_seeds("O3", lambda own: _batch(own, frame), LEFT, f"gap of batch and sequence, mean {SHARE}"),
        over_seeds("O5", lambda own: _sizes(own, frame, records), LEFT, f"most left at any size, {SHARE}"),
        over_seeds("O6", lambda own: _repeated(_main(own), frame, drift), LEFT if drift is None else drift,
                   f"largest change, {SHARE}" if drift is None else "mean KL before to after on the retain set, nats"),
        over_seeds("O7", lambda own: _rolled_back(_main(own)), 0.0, "states that could not be restored"),
        over_seeds("O8", lambda own: _vouched(_main(own)), 0.0, "states without a sound manifest"),
    )  # fmt: skip


def cost_line(costs: Sequence[Sequence[Expense]], retraining: Expense | None, requests: int) -> Check:
    """O4: mean seconds per request over those of one retraining.

    Args:
        costs: Of every seed's chain, step by step.
        retraining: Measured in the same run.
        requests: Served by each chain.
    """
    if retraining is None:
        return untested("O4", "no retraining was timed; the benchmark tells no recipe for one")
    found = []
    for steps in costs:
        if steps:
            mean = sum(one.seconds for one in steps) / requests
            memory = max(one.peak_memory_mib for one in steps)
            trained = max(one.trained_parameters for one in steps)
            told = (
                f"{mean:.1f} s per request against {retraining.seconds:.1f} s for one retraining, {memory:,.0f} MiB "
                f"against {retraining.peak_memory_mib:,.0f}, {trained:,} trained weights against "
                f"{retraining.trained_parameters:,}"
            )
            ratio = mean / retraining.seconds
            found.append(Found(ratio, ratio < 1, told))
    return _worst("O4", found, 1.0, "seconds per request over those of one retraining")


def _worst(name: str, found: Sequence[Found], limit: float, what: str) -> Check:
    """The seeds together: the worst decides, one that fails before one that says nothing before one that passes."""
    if not found:
        return untested(name)
    measured = [each for each in found if np.isfinite(each.value)]
    failed = [each for each in measured if not each.fine]
    if not failed and len(measured) < len(found):
        return untested(name, next(each.told for each in found if each not in measured))
    one = max(failed or measured, key=lambda each: each.value)
    told = one.told
    if len({each.value for each in measured}) > 1:
        spread = seed_spread([each.value for each in measured])
        told += f"; {spread.n} seeds: mean {spread.mean:.3f} [{spread.low:.3f}, {spread.high:.3f}], the worst counts"
    outcome, value = "FAIL" if failed else "PASS", round(one.value, 6)
    return make(name, outcome, value, limit, told, statistic=what, tried=len(found), by=one.by if failed else "")


def _main(courses: Sequence[Course]) -> Course:
    return next(one for one in courses if one.kind == "sequence")


def _returned(course: Course, frame: Frame) -> Found | None:
    """What later requests brought back of those that were forgotten in their turn, and what they did to the utility."""
    if len(course.steps) < 2:
        return None
    shares = np.maximum(matrix(course, frame), 0)  # to come back from below the controls is no return of knowledge
    own = np.diag(shares)
    forgotten = np.flatnonzero((own <= LEFT)[:-1])
    drift = utility_drift([frame.kept(step.levels) for step in course.steps])
    kept = frame.kept(course.steps[-1].levels)
    told = (
        f"{int((own <= LEFT).sum())} of {len(own)} requests were forgotten in their turn, those who had not asked yet "
        f"kept {waiting(shares):.2f} or more; utility {kept:.0%} of the target's at the end, {drift:+.1%} per request; "
        f"controls differ by {_noise(frame):.0%}"
    )
    if not len(forgotten):
        return Found(float("nan"), False, f"no earlier request was forgotten in its turn, so none can return; {told}")
    back = shares[-1, forgotten] - own[forgotten]
    value = float(back.max())
    which = f"request {course.steps[int(forgotten[back.argmax()])].served[0] + 1} returned most"
    told = f"{which}{_interval(course, frame, forgotten)}; {told}" if value > 0 else f"none returned; {told}"
    return Found(value, value <= LEFT and kept >= KEPT, told + _lost(kept), by="" if kept >= KEPT else "utility")


def waiting(shares: np.ndarray) -> float:
    """Least that is known of a request before its turn, of a matrix (m, m)."""
    return float(np.nanmin(shares[np.triu_indices(len(shares), 1)], initial=1.0))


def _lost(kept: float) -> str:
    return f"; the utility is below {KEPT:.0%}" if kept < KEPT else ""


def _compared(value: float, kept: Sequence[float], told: str) -> Found:
    """Two or more ends of the same requests: a gap of knowledge, and the utility that each has kept."""
    if max(kept) < COLLAPSED:
        return Found(float("nan"), False, f"the model is broken either way, so nothing can be compared; {told}")
    moved = max(kept) - min(kept)
    return Found(value, value <= LEFT and moved <= LOSS, told, by="" if moved <= LOSS else "utility")


def _noise(frame: Frame) -> float:
    span = (frame.target - frame.base)[frame.known]
    return float((frame.noise[frame.known] / span).max())


def _interval(course: Course, frame: Frame, forgotten: np.ndarray) -> str:
    """A bootstrap interval of the largest return over the records; "" where they do not match from state to state."""
    order = [step.served[0] for step in course.steps]
    gaps = []
    for place in forgotten:
        number = order[place]
        first, last = (np.array(course.steps[at].levels.items[number]) for at in (place, -1))
        if len(first) != len(last) or len(first) < 2:
            return ""
        gaps.append((first, last, frame.base[number], (frame.target - frame.base)[number]))

    def largest(*counts: np.ndarray) -> np.ndarray:
        back = []
        for drawn, (first, last, base, span) in zip(counts, gaps, strict=True):
            before, after = (np.maximum(drawn @ one / len(one) - base, 0) / span for one in (first, last))
            back.append(after - before)
        return np.max(back, axis=0)

    low, high = percentile(resample([len(first) for first, *_ in gaps], largest, seed=0))
    return f" [{low:.2f}, {high:.2f}] over its records"


def _orders(courses: Sequence[Course], frame: Frame) -> Found | None:
    ends = [one.steps[-1].levels for one in courses if one.kind in ("sequence", "order")]
    if len(ends) < 2:
        return None
    left, kept = ([of(one) for one in ends] for of in (frame.left, frame.kept))
    single = np.ptp([frame.shares(one) for one in ends], axis=0)
    told = (
        f"{len(ends)} orders leave {min(left):.2f} to {max(left):.2f} on average, up to {np.nanmax(single):.2f} apart "
        f"on a single request, and {min(kept):.0%} to {max(kept):.0%} of the utility"
    )
    return _compared(max(left) - min(left), kept, told)


def _batch(courses: Sequence[Course], frame: Frame) -> Found | None:
    whole = [one for one in courses if one.kind == "batch" and len(one.steps) == 1]
    if not whole:
        return None
    single, batch = _main(courses).steps[-1].levels, whole[0].steps[-1].levels
    told = (
        f"all at once leaves {frame.left(batch):.2f} with {frame.kept(batch):.0%} of the utility, one by one "
        f"{frame.left(single):.2f} with {frame.kept(single):.0%}"
    )
    gap = abs(frame.left(single) - frame.left(batch))
    return _compared(gap, [frame.kept(single), frame.kept(batch)], told)


def _sizes(courses: Sequence[Course], frame: Frame, records: int) -> Found | None:
    """Each size afresh; of records that the controls do know, what they know of the requests stands for not knowing."""
    found = sorted((one for one in courses if one.kind == "size"), key=lambda one: one.share)
    if not found:
        return None
    base = float(frame.base.mean())
    span = float(frame.target.mean()) - base
    left = [(one.steps[-1].levels.values[0] - base) / span for one in found]
    kept = [frame.kept(one.steps[-1].levels) for one in found]
    told = ", ".join(
        f"{one.steps[-1].forgotten / records:.0%}: {share:.2f} left with {kept:.0%} of the utility"
        for one, share, kept in zip(found, left, kept, strict=True)
    )
    told += "; 0 is what the controls know of the requests, also of further records, which they do know"
    fine = min(kept) >= KEPT
    return Found(max(left), max(left) <= LEFT and fine, told + _lost(min(kept)), by="" if fine else "utility")


def _repeated(course: Course, frame: Frame, drift: float | None) -> Found | None:
    again = course.again
    if again is None:
        return None
    before = course.steps[-1].levels
    changed = float(np.nanmax(np.abs(frame.shares(again.levels) - frame.shares(before))))
    lost = abs(frame.kept(again.levels) - frame.kept(before))
    moved = again.distances.get("retain")
    told = (
        f"knowledge changes by {changed:.2f} at most and utility by {lost:.0%}; the weights move by "
        f"{again.weights:.0%} of what all requests moved them"
    )
    fine = changed <= LEFT and lost <= LOSS
    if frame.kept(before) < COLLAPSED:
        return Found(float("nan"), False, f"the model was broken before it was repeated; {told}")
    by = "" if fine else "knowledge or utility"
    if drift is None or moved is None:
        return Found(changed, fine, told, by)
    return Found(moved, fine and moved <= drift, f"{told}; two controls are {drift:.3f} nats per token apart", by)


def _rolled_back(course: Course) -> Found:
    lost = sum(not step.restored for step in course.steps)
    size = sum(step.bytes for step in course.steps)
    changed = max(step.changed for step in course.steps)
    told = (
        f"{len(course.steps) - lost} of {len(course.steps)} states were read back bit by bit after the last request; "
        f"kept are {size / len(course.steps) / 2**20:.1f} MiB of weights each, of which up to {changed:,} differ from "
        "the state before"
    )
    return Found(float(lost), not lost, told)


def _vouched(course: Course) -> Found:
    lost = sum(not step.vouched for step in course.steps)
    if course.intact:
        return Found(float(max(lost, 1)), False, course.intact)
    told = (
        f"{len(course.steps) - lost} of {len(course.steps)} manifests name weights before and after, the records and "
        "the settings, and each state starts with the weights that the one before ended with"
    )
    return Found(float(lost), not lost, told)


def last_return(course: Course) -> float | None:
    """SoK's number: the largest return after the last request, in the unit of the measure; None of a single request."""
    return resurrection(matrix(course)) if len(course.steps) > 1 else None
