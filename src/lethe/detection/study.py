"""One detection run on one machine: its models, trained once and kept, and all that the algorithms read of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lethe.data.content import digest
from lethe.detection import learnt, queries
from lethe.detection.pools import Pools, draw
from lethe.detection.subjects import Subject, subject
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.scoring.detection import needs
from lethe.scoring.detection_learnt import rescaled_logit
from lethe.scoring.detection_references import split_references
from lethe.worlds.cache import cached_model
from lethe.worlds.models import fit

Arrays = dict[str, np.ndarray]
SEED = 3000  # models of a detection run count their seeds from here, those of the embedded worlds from 1000


@dataclass(frozen=True)
class Setting:
    """What a run is, small enough to be sent to a process; `lethe.api.bench_tddbench` documents the fields."""

    world: str = "records"
    targets: int = 5
    references: int = 16
    seed: int = 0
    size: int = 0
    epochs: int = 0
    noise: float = 0.1
    forget: float = 0.0
    copies: int = 10
    published: bool = False
    boundary_rows: int = 200
    boundary_iterations: int = 20
    boundary_queries: int = 2000


# Which observation holds which quantities; those that need no target are made once for all of them.
OBSERVED: Mapping[str, tuple[str, ...]] = {
    "outputs": ("p", "logits", "labels", "loss", "phi", "p_true", "population_true"),
    "references": (
        "loss_in", "loss_out", "phi_in", "phi_out", "p_true_in", "p_true_out", "population_true_in",
        "population_true_out",
    ),
    "shadow": ("p_reference", "logits_reference", "labels_reference", "member_reference", "hits_reference"),
    "copies": ("loss_copies",),
    "augmented": ("hits",),
    "proxy": ("loss_proxy",),
    "boundary": ("distance", "correct"),
    "quantiles": ("phi_mean", "phi_std"),
    "canary": ("phi_query", "phi_query_in", "phi_query_out"),
}  # fmt: skip
SHARED = ("references", "shadow", "canary")
TRAINED = {"references": "reference", "shadow": "shadow", "canary": "reference", "proxy": "proxy"}


class Study:
    """The models and observations of a setting.

    Args:
        setting: The run.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        for name in ("copies", "boundary_rows", "boundary_iterations", "boundary_queries"):
            if getattr(setting, name) < 1:
                raise InputError(f"{name} is {getattr(setting, name)}; it must be at least 1.")

    @cached_property
    def subject(self) -> Subject:
        """The records."""
        s = self.setting
        return subject(s.world, seed=s.seed, size=s.size, epochs=s.epochs, noise=s.noise)

    @cached_property
    def pools(self) -> Pools:
        """Who was trained on what."""
        s = self.setting
        return draw(len(self.subject), targets=s.targets, references=s.references, seed=s.seed, forget=s.forget)

    def makers(self) -> dict[str, Callable[[int], Arrays]]:
        """The observations that this kind of records and this setting allow; `lacking` says why another is not."""
        return {name: getattr(self, f"_{name}") for name in OBSERVED if not self.lacking(name)}

    def lacking(self, observation: str) -> str:
        """Why an observation cannot be made here, in a few words; "" where it can."""
        kind = self.subject.kind
        if observation == "boundary" and kind == "text":
            return "a search for the decision boundary moves numbers, and texts have none"
        if observation == "canary" and kind != "image":
            return "queries are optimised for images only"
        if observation == "canary" and self.setting.forget:
            return "no reference model was trained on what is to be forgotten"
        return ""

    def missing(self, algorithm: str) -> str:
        """Why an algorithm cannot run here, in a few words; "" where it can."""
        wanted = needs(algorithm)
        if self.setting.forget and any(name.endswith("_in") for name in wanted):
            return "no reference model was trained on what is to be forgotten"
        return next(filter(None, map(self.lacking, observations(algorithm))), "")

    def training(self) -> list[tuple[str, int]]:
        """Every model that does not depend on another one, as (role, number)."""
        pools = self.pools
        counts = {"target": len(pools.targets), "control": len(pools.controls), "reference": len(pools.references)}
        return [*((role, n) for role, count in counts.items() for n in range(count)), ("shadow", 0)]

    def audited(self) -> list[tuple[str, int]]:
        """The models that are asked: the targets, and the same retrained without what is to be forgotten."""
        return [(role, n) for role, n in self.training() if role in ("target", "control")]

    def model(
        self, role: str, number: int = 0, build: Callable[[str, Callable[[], Model]], Model] | None = None
    ) -> Model:
        """A target, control, reference, shadow or proxy model, from the cache or trained now.

        Args:
            role: Which kind.
            number: Its number; of a proxy, the place in `audited` of the model that it imitates.
            build: Called with the hash of all that the weights depend on, and the training, where there is any to do.
        """
        one, content = self.subject, self.content(role, number)
        records, seed = content["records"], content["seed"]

        def train(folder: Path) -> Model:
            def run() -> Model:
                return fit(one.make(seed), records, dict(one.recipe), seed, folder, per="example")

            return run() if build is None else build(digest(content), run)

        family = "language" if one.kind == "text" else "classifier"
        return cached_model(f"tddbench-{role}{number}", content, train, family=family)

    def content(self, role: str, number: int = 0) -> dict[str, Any]:
        """All that the weights of a model depend on."""
        one, pools = self.subject, self.pools
        if role == "proxy":
            rows = pools.shadow[pools.shadow_members]
            records = one.records(rows, one.logits(self._asked(number), one.take(rows)).argmax(axis=1))
        elif role == "shadow":
            records = one.records(pools.shadow[pools.shadow_members])
        else:
            held = {"target": pools.targets, "control": pools.controls, "reference": pools.references}[role][number]
            records = one.records(pools.pool[held])
        places = {"target": 0, "control": 0, "reference": 1000, "shadow": 2000, "proxy": 2500}
        seed = SEED + 5000 * self.setting.seed + places[role] + number
        return {"records": records, "recipe": dict(one.recipe), "seed": seed, "told": dict(one.told)}

    def _asked(self, place: int) -> Model:
        return self.model(*self.audited()[place])

    def _scored(self, model: Model, rows: np.ndarray) -> Arrays:
        """Outputs of a model on rows of the subject."""
        logits = self.subject.logits(model, self.subject.take(rows))
        return self._read(logits, self.subject.labels[rows])

    @staticmethod
    def _read(logits: np.ndarray, labels: np.ndarray) -> Arrays:
        from scipy.special import log_softmax

        logp = log_softmax(logits, axis=1)
        loss = np.maximum(-logp[np.arange(len(labels)), labels], 0.0)
        p = np.exp(logp)
        return {"logits": logits, "p": p / p.sum(axis=1, keepdims=True), "labels": labels, "loss": loss}

    def _outputs(self, place: int) -> Arrays:
        found = self._scored(self._asked(place), self.pools.rows)
        p_true = np.exp(-found["loss"])
        return found | {"phi": rescaled_logit(found["loss"]), "p_true": p_true, "population_true": p_true}

    def _references(self, _: int) -> Arrays:
        pools = self.pools
        losses = [self._scored(self.model("reference", n), pools.rows)["loss"] for n in range(len(pools.references))]
        loss = np.stack(losses, axis=1)
        if self.setting.forget:
            return {"loss_out": loss, "phi_out": rescaled_logit(loss)}
        inside, outside = split_references(loss, pools.inside)
        found: Arrays = {}
        for side, values in (("in", inside), ("out", outside)):
            p_true = np.exp(-values)
            found |= {f"loss_{side}": values, f"phi_{side}": rescaled_logit(values), f"p_true_{side}": p_true,
                      f"population_true_{side}": p_true}  # fmt: skip
        return found

    def _shadow(self, _: int) -> Arrays:
        pools, model = self.pools, self.model("shadow")
        found = self._scored(model, pools.shadow)
        return {
            "p_reference": found["p"], "logits_reference": found["logits"], "labels_reference": found["labels"],
            "member_reference": pools.shadow_members, "hits_reference": self._hits(model, pools.shadow),
        }  # fmt: skip

    def _copies(self, place: int) -> Arrays:
        rows = self.pools.rows
        inputs = queries.noisy(self.subject, rows, self.setting.copies, self.setting.seed, self.setting.published)
        return {"loss_copies": self._of_copies(self._asked(place), inputs, rows)["loss"].reshape(len(rows), -1)}

    def _augmented(self, place: int) -> Arrays:
        return {"hits": self._hits(self._asked(place), self.pools.rows)}

    def _hits(self, model: Model, rows: np.ndarray) -> np.ndarray:
        inputs = queries.augmented(self.subject, rows, self.setting.copies, self.setting.seed, self.setting.published)
        found = self._of_copies(model, inputs, rows)
        return (found["logits"].argmax(axis=1) == found["labels"]).reshape(len(rows), -1)

    def _of_copies(self, model: Model, inputs: Any, rows: np.ndarray) -> Arrays:
        labels = np.repeat(self.subject.labels[rows], self.setting.copies)
        return self._read(self.subject.logits(model, inputs), labels)

    def _proxy(self, place: int) -> Arrays:
        return {"loss_proxy": self._scored(self.model("proxy", place), self.pools.rows)["loss"]}

    def _few(self) -> np.ndarray:
        """Places among the audited records that costly queries are made for, the same for every target."""
        count = min(self.setting.boundary_rows, len(self.pools.audited))
        return np.sort(np.random.default_rng([self.setting.seed, 6]).permutation(len(self.pools.audited))[:count])

    def _boundary(self, place: int) -> Arrays:
        one, pools, few, model = self.subject, self.pools, self._few(), self._asked(place)
        rows = pools.rows[few]
        points, others = one.take(rows), one.take(pools.shadow)
        shape = points.shape[1:]
        says, classes = (one.logits(model, inputs).argmax(axis=1) for inputs in (points, others))
        flat, pool = points.reshape(len(points), -1).astype(np.float64), others.reshape(len(others), -1)
        gaps = ((flat**2).sum(1)[:, None] - 2 * flat @ pool.T + (pool**2).sum(1)[None]) + np.where(
            says[:, None] == classes[None], np.inf, 0.0
        )

        def decide(at: np.ndarray, owners: np.ndarray) -> np.ndarray:
            return one.logits(model, at.reshape(-1, *shape).astype(np.float32)).argmax(axis=1) != says[owners]

        distance, asked = queries.boundary_distances(
            flat, pool[gaps.argmin(axis=1)].astype(np.float64), decide, seed=self.setting.seed,
            iterations=self.setting.boundary_iterations, budget=self.setting.boundary_queries,
        )  # fmt: skip
        correct = says == one.labels[rows]
        return {"distance": distance, "correct": correct, "rows": few, "asked": np.array([asked + 1])}

    def _quantiles(self, place: int) -> Arrays:
        one, pools = self.subject, self.pools
        phi = rescaled_logit(self._scored(self._asked(place), pools.shadow)["loss"])
        known, wanted = (one.features(one.take(rows)) for rows in (pools.shadow, pools.rows))
        mean, std = learnt.expected(known, phi, wanted, self.setting.seed)
        return {"phi_mean": mean, "phi_std": std}

    def _canary(self, _: int) -> Arrays:
        one, few = self.subject, self._few()
        rows, inside = self.pools.rows[few], self.pools.inside[few]
        models = [self.model("reference", n) for n in range(len(self.pools.references))]
        images = learnt.canaries(models, inside, one.take(rows), one.labels[rows], self.setting.seed)
        flat, labels = images.reshape(-1, *images.shape[2:]), np.repeat(one.labels[rows], images.shape[1])

        def phi(model: Model) -> np.ndarray:
            return rescaled_logit(self._read(one.logits(model, flat), labels)["loss"])

        held = np.repeat(inside, images.shape[1], axis=0)
        sides = split_references(np.stack([phi(model) for model in models], axis=1), held)
        asked = np.stack([phi(self._asked(place)) for place in range(len(self.audited()))])
        of_sides = [side.reshape(len(few), images.shape[1], -1) for side in sides]
        return {"phi_query": asked.reshape(len(asked), len(few), -1), "phi_query_in": of_sides[0],
                "phi_query_out": of_sides[1], "rows": few}  # fmt: skip

    def key(self) -> str:
        """Hash of all that the observations depend on, but for the code."""
        one = self.subject
        return digest([asdict(self.setting), one.take(np.arange(len(one))), one.labels, dict(one.recipe)])


def observations(algorithm: str) -> tuple[str, ...]:
    """The observations that hold what an algorithm needs, in the order of `OBSERVED`."""
    wanted = set(needs(algorithm))
    return tuple(name for name, held in OBSERVED.items() if wanted & set(held))


def questions(algorithm: str, copies: int, search: int, shadow: float) -> float:
    """How often an algorithm asks a target, per audited record.

    Args:
        algorithm: A name in `lethe.scoring.detection.ALGORITHMS`.
        copies: Changed copies of each record.
        search: Questions of the search for the decision boundary.
        shadow: Records of the shadow pool for each audited one.
    """
    asked = {
        "outputs": 1.0, "copies": copies, "augmented": copies, "proxy": shadow / 2, "quantiles": shadow,
        "boundary": search, "canary": learnt.QUERIES,
    }  # fmt: skip
    return float(sum(asked.get(name, 0) for name in observations(algorithm)))
