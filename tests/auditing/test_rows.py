"""What a benchmark's rows tell the audit: the guard on a row's card and the request's intent."""

from typing import cast

import pytest
from tests.auditing.test_checklist import CONTROL, NOISE, SHOWN, TARGET, scores

from lethe.auditing.case import make
from lethe.findings import Verdict
from lethe.runs.results import Role, Row
from lethe.runs.verdicts import judged


def row(name: str, role: str, values: dict[str, float], shift: float = 0.0, card: dict[str, str] | None = None) -> Row:
    return Row(name, cast(Role, role), name, 0, {}, "", 1000, tuple(scores(values, shift).values()), card=card or {})


def verdict(required: str | None = None, **card: str) -> Verdict:
    controls = [row(f"control-seed{seed}", "control", CONTROL, shift) for seed, shift in enumerate(NOISE)]
    own = row("own-seed0", "method", CONTROL, card={"level": "parameter", **card})
    rows = [row("target", "target", TARGET), *controls, own]
    given = [*SHOWN, make("B2", "PASS"), make("U1", "PASS")]  # which these scores cannot answer
    found = judged(rows, "known@forget", "utility@all", required or "removal", given)[-1].verdict
    assert found is not None
    return found


@pytest.mark.parametrize(("guard", "outcome"), [("yes", "FAIL"), ("no", "PASS"), (None, "PASS")])
def test_a_guard_on_the_card_fails_direct_access(guard: str | None, outcome: str):
    card = {} if guard is None else {"guard": guard}
    assert {check.id: check.outcome for check in verdict(**card).checks}["R9"] == outcome


def test_the_request_decides_and_the_claim_is_told():
    for claimed in ("removal", "suppression"):
        found = verdict("suppression", intent=claimed)
        assert (found.claimed, found.reached) == (claimed, "suppression")
        for required in ("removal", "unsure", None):
            assert verdict(required, intent=claimed).reached == "no verdict"
