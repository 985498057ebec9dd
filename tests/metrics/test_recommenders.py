"""What is observed of a recommender, and the metrics that read it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest import approx
from tests.models import tiny

from lethe import looking
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.scoring import ranking

USERS, ITEMS = 8, 12


def probes() -> dict[str, list[dict[str, Any]]]:
    known = {(row["user"], row["item"]) for row in tiny.interactions()}
    forget, retain = tiny.interactions()[:6], tiny.interactions()[6:]
    free = [(user, item) for user in range(USERS) for item in range(ITEMS) if (user, item) not in known]
    test, holdout = free[::7], free[1::9]
    rest = {"test": test, "holdout": holdout}
    return {"forget": forget, "retain": retain} | {
        name: [{"id": f"{name}-{u}-{i}", "user": u, "item": i} for u, i in pairs] for name, pairs in rest.items()
    }


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return observe(tiny.recommender(seed=3), probes(), Spec(top=5))


def test_users_are_ranked_as_the_whole_table_of_scores_says(evidence: Evidence, monkeypatch: pytest.MonkeyPatch):
    scores = tiny.recommender(seed=3).scores(torch.arange(USERS)).detach().numpy()
    masked = np.zeros(scores.shape, dtype=bool)
    masked[[row["user"] for row in probes()["retain"]], [row["item"] for row in probes()["retain"]]] = True
    listed = ranking.top_k(scores, 5, seen=masked)
    users = evidence.rankings["users"]
    np.testing.assert_array_equal(evidence.rankings["items"], listed[users])
    for name, rows in probes().items():
        pairs = [row["user"] for row in rows], [row["item"] for row in rows]
        found = [int(rank[0]) + 1 for rank in evidence.per_token(name, what="rank")]
        np.testing.assert_array_equal(found, ranking.item_ranks(scores, *pairs, seen=masked))
        np.testing.assert_allclose(evidence.scored(name), scores[pairs], atol=1e-5)
        logp = torch.tensor(scores).log_softmax(-1).numpy()
        np.testing.assert_allclose(-evidence.nll(name), logp[pairs], atol=1e-5)
    monkeypatch.setattr(looking, "SCORES_HELD", ITEMS)  # one user at a time
    one_by_one = observe(tiny.recommender(seed=3), probes(), Spec(top=5))
    for name, values in evidence.tokens.items():
        np.testing.assert_allclose(one_by_one.tokens[name], values, atol=1e-6)
    np.testing.assert_array_equal(one_by_one.rankings["items"], evidence.rankings["items"])


def test_lists_survive_the_disk(evidence: Evidence, tmp_path: Path):
    evidence.save(tmp_path / "e")
    for name, values in Evidence.load(tmp_path / "e").rankings.items():
        np.testing.assert_array_equal(values, evidence.rankings[name])


def test_the_full_mask_leaves_forgotten_items_out(evidence: Evidence):
    scores = tiny.recommender(seed=3).scores(torch.arange(USERS)).detach().numpy()
    masked = np.zeros(scores.shape, dtype=bool)
    for row in (*probes()["retain"], *probes()["forget"]):
        masked[row["user"], row["item"]] = True
    rows = probes()["test"]
    ranks = ranking.item_ranks(scores, [r["user"] for r in rows], [r["item"] for r in rows], seen=masked)
    left = {row["user"] for row in probes()["retain"]}
    users = list(dict.fromkeys(row["user"] for row in rows if row["user"] in left))
    wanted = [
        ranking.of_places([rank - 1 for rank, row in zip(ranks, rows, strict=True) if row["user"] == user], 3)
        for user in users
    ]
    full = compute("ndcg:set=test,k=3,mask=full", evidence)
    assert full.items == approx([values["ndcg"] for values in wanted])
    assert full.name == "ndcg.truncated.at3.full@test"
    with pytest.raises(InputError, match="mask=remaining"):
        compute("recall:set=forget,mask=full", evidence)


def test_users_without_remaining_data_are_counted_and_left_out():
    gone, sets = probes()["forget"][0]["user"], probes()
    sets["forget"] = [row for row in tiny.interactions() if row["user"] == gone]
    sets["retain"] = [row for row in tiny.interactions() if row["user"] != gone]
    sets["test"].append({"id": "cold", "user": gone, "item": 0})
    seen = observe(tiny.recommender(seed=3), sets)
    served = {row["user"] for row in sets["test"]} - {gone}
    for call in ("recall:set=test", "ndcg:set=test", "mrr:set=test"):
        score = compute(call, seen)
        assert (score.n, score.detail["excluded"]) == (len(served), 1)
    assert compute("recall:set=forget", seen).n == 1  # what is still known of them is asked all the same
    with pytest.raises(InputError, match="Nobody in the set 'test' has a retained interaction"):
        compute("recall", observe(tiny.recommender(seed=3), sets | {"test": sets["test"][-1:]}))


def test_the_gap_between_groups_by_hand(evidence: Evidence):
    degrees = Counter(row["user"] for row in probes()["retain"])
    items = compute("ndcg:set=retain", evidence).items
    users = list(dict.fromkeys(row["user"] for row in probes()["retain"]))
    ndcg = dict(zip(users, items, strict=True))
    most = max(sorted(users), key=lambda user: degrees[user])
    others = [ndcg[user] for user in users if user != most]
    assert compute("group_gap:set=retain", evidence).value == approx(ndcg[most] - np.mean(others))


def test_items_leak_into_anybodys_list(evidence: Evidence):
    with pytest.raises(InputError, match=r"set Spec\.top to 20"):
        compute("item_leakage", evidence)
    listed = set(evidence.rankings["items"][:, :2].ravel().tolist())
    gone = {row["item"] for row in probes()["forget"]}
    assert compute("item_leakage:k=2", evidence).value == approx(len(gone & listed) / len(gone))


def test_scores_are_a_recommenders():
    records = tiny.features(4)
    seen = observe(tiny.classifier(), {"forget": records})
    with pytest.raises(InputError, match="they are a recommender's"):
        seen.scored("forget")
