"""Which attacks an audit makes for a budget of time, and why it leaves the others out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lethe.errors import InputError
from lethe.findings import LeftOut
from lethe.registry import BUDGETS, Card, did_you_mean, find, names
from lethe.request import Record, Request


def affordable(
    budget: str, family: str, abilities: Collection[str], request: Request
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """The calls of every attack that fits and is paid for, in the order of names; and all others with the reason.

    Args:
        budget: quick, standard or thorough.
        family: Of the model.
        abilities: What the model offers, see `lethe.models.base.Model`.
        request: What its parts and its forget records hold.

    Raises:
        InputError: If there is no such budget.
    """
    checked(budget)
    calls: list[str] = []
    left_out: list[LeftOut] = []
    for name in names("attack"):
        try:
            card = find("attack", name)
        except InputError as error:  # of a package that cannot be loaded
            left_out.append(LeftOut(name, "", str(error)))
            continue
        reason = unfit(card, family, abilities, request)
        if not reason and not card.calls_at(budget):
            enough = next(larger for larger in BUDGETS if card.calls_at(larger))
            reason = f"too dear for the budget {budget}; {enough} pays for it"
        if reason:
            left_out.append(LeftOut(name, card.check, reason))
        else:
            calls += card.calls_at(budget)
    return tuple(calls), tuple(left_out)


def unfit(card: Card, family: str, abilities: Collection[str], request: Request) -> str:
    """Why an attack cannot be made on a model for a request, in words that follow "the attack"; "" where it can."""
    if card.families and family not in card.families:
        return f"is for {', '.join(sorted(card.families))} models, this is a {family} model"
    if lacking := sorted(card.needs - set(abilities)):
        return f"needs {' and '.join(lacking)}, which this {family} model does not offer"
    if empty := [part for part in sorted(card.requires) if not getattr(request, part)]:
        return f"needs {empty[0]} records; the {empty[0]} set is empty"
    if absent := [name for name in sorted(card.fields) if not _all_hold(request.forget, name)]:
        return f"needs forget records that all have {' and '.join(absent)}"
    return ""


def checked(budget: str) -> str:
    """The budget, if there is one of that name.

    Raises:
        InputError: If there is none, with the nearest that there is.
    """
    if budget not in BUDGETS:
        raise InputError(f"There is no budget {budget!r}{did_you_mean(budget, BUDGETS)}; one of {', '.join(BUDGETS)}.")
    return budget


def _all_hold(records: Sequence[Record], name: str) -> bool:
    return all(record.get(name) for record in records)
