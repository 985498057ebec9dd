"""What was observed of one model on a set of probes: one pass per distinct text, one generation per distinct prompt.

Metrics are pure functions of `Evidence`; nothing asks the model twice. Observations are cached on disk under the hash
of the model (weights, configuration, tokenizer), of the probes and of the specification.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lethe.data.atomic import folder as atomic_folder
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.models.base import IGNORED, Batch, Example, Model, gradient_norms
from lethe.models.language import LanguageModel
from lethe.request import Record
from lethe.traces import Traces, look

Probes = Mapping[str, Sequence[Record]]
FIELDS = {  # by role
    "answer": "answer",
    "paraphrase": "paraphrased_answer",
    "perturbed": "perturbed_answer",
    "choices": "choices",
}
SAID = ("question", "answer", "text", "raw_prompt", "answer_prefix")  # the fields that make a text
TOKEN_FIELDS = ("logp", "hit", "mean", "std", "rank")


@dataclass(frozen=True)
class Spec:
    """What to observe.

    Args:
        max_new_tokens: Longest generation, tokens.
        budgets: Longest generation of single sets, (name, tokens), where it is another.
        total: Most tokens of a prompt and its generation together; 0 bounds the generation alone.
        generate: Sets whose questions are answered by greedy decoding; "*" stands for all.
        distributions: Sets whose answer distributions are kept whole (for the distance to a control).
        rows: Most records per set of which the distribution is kept.
        memory: Room for the distributions of all sets together, MiB; a set keeps its first records, as many as fit into
            its share. A token of a vocabulary of 128,000 takes half a MiB.
        traces: Value vectors to look at; none where it is None.
        gradients: Sets of which the gradient of every text's loss is measured: one backward pass per distinct text.
    """

    max_new_tokens: int = 48
    budgets: tuple[tuple[str, int], ...] = ()
    total: int = 0
    generate: tuple[str, ...] = ("*",)
    distributions: tuple[str, ...] = ("forget", "retain")
    rows: int = 300
    memory: float = 2048.0
    traces: Traces | None = None
    gradients: tuple[str, ...] = ()


@dataclass
class Evidence:
    """Everything observed of one model.

    Token arrays are flat over the distinct texts; `offsets` (N + 1) cuts them. `index[set][role]` holds, per record,
    the numbers of its texts: (N,) for the answer and its paraphrase, (N, K) for K perturbed answers or K choices;
    further roles are those of the records' `derived` texts (`lethe.data.derived`).
    """

    family: str
    model: str
    probes: str
    offsets: np.ndarray
    tokens: dict[str, np.ndarray]  # logp, hit, mean and std of log p under the model, rank of the true token
    index: dict[str, dict[str, np.ndarray]]
    records: dict[str, list[dict[str, Any]]]  # the scalar and text fields of every probe record
    generations: dict[str, list[str]]
    distributions: dict[int, np.ndarray] = field(default_factory=dict)  # text number -> (n, V) log-probabilities
    passes: dict[str, int] = field(default_factory=dict)
    traces: dict[str, np.ndarray] = field(default_factory=dict)  # as `lethe.traces.look` gives them
    gradients: dict[str, np.ndarray] = field(default_factory=dict)  # "set.p" -> norms, see `gradient_norms`
    key: str = ""  # of model, probes and specification together: the name under which it is cached

    def sets(self) -> list[str]:
        """Names of the probe sets."""
        return list(self.index)

    def has(self, name: str, role: str = "answer") -> bool:
        """Whether a set was observed in that role."""
        return role in self.index.get(name, {})

    def texts(self, name: str, role: str = "answer") -> np.ndarray:
        """Numbers of the texts of a set's records, (N,) or (N, K).

        Raises:
            InputError: If the set was not observed, or its records hold nothing for that role.
        """
        if role not in self._observed(name):
            raise InputError(
                f"The records of the set {name!r} have no {FIELDS.get(role, role)}; give it to every one of them."
            )
        return self.index[name][role]

    def _observed(self, name: str) -> Mapping[str, np.ndarray]:
        if name not in self.index:
            raise InputError(f"The set {name!r} was not observed; observed were {', '.join(self.index)}.")
        return self.index[name]

    def per_token(self, name: str, role: str = "answer", what: str = "logp") -> list[np.ndarray]:
        """One array (n_i,) per record of a token quantity: logp, hit, mean, std or rank."""
        values = self.tokens[what]
        return [values[self.offsets[i] : self.offsets[i + 1]] for i in self.texts(name, role)]

    def nll(self, name: str, role: str = "answer") -> np.ndarray:
        """Mean negative log-likelihood per token in nats, (N,) or (N, K)."""
        sums = np.add.reduceat(self.tokens["logp"].astype(np.float64), self.offsets[:-1])
        return (-sums / np.diff(self.offsets))[self.texts(name, role)]

    def sizes(self, name: str, role: str = "answer") -> np.ndarray:
        """Number of scored tokens, (N,) or (N, K)."""
        return np.diff(self.offsets)[self.texts(name, role)]

    def distribution(self, name: str) -> list[np.ndarray]:
        """Log-probabilities (n_i, V) of the answers whose distribution was kept, in the order of the records."""
        return [self.distributions[i] for i in self.texts(name) if i in self.distributions]

    def gradient_norms(self, name: str, p: str = "2") -> np.ndarray:
        """Norm (p = 2 or inf) of the gradient of each record's mean token loss in every parameter tensor, (N, P).

        Raises:
            InputError: If no gradients of the set were observed.
        """
        if f"{name}.{p}" not in self.gradients:
            raise InputError(f"No gradients of the set {name!r} were observed; name it in Spec.gradients.")
        return self.gradients[f"{name}.{p}"]

    def generated(self, name: str) -> list[str]:
        """Greedy answers (empty list where none were asked for)."""
        return self.generations.get(name, [])

    def column(self, name: str, key: str) -> list[Any]:
        """One field of the probe records."""
        self._observed(name)
        return [record.get(key) for record in self.records[name]]

    def save(self, folder: str | Path) -> None:
        """Write the evidence as safetensors and JSON, whole or not at all."""
        from safetensors.numpy import save_file

        arrays = {"offsets": self.offsets, **{f"tokens.{k}": v for k, v in self.tokens.items()}}
        arrays |= {f"index.{s}.{r}": v for s, roles in self.index.items() for r, v in roles.items()}
        arrays |= {f"distribution.{i}": v for i, v in self.distributions.items()}
        arrays |= {f"trace.{k}": v for k, v in self.traces.items()}
        arrays |= {f"gradient.{k}": v for k, v in self.gradients.items()}
        meta = {k: getattr(self, k) for k in ("family", "model", "probes", "records", "generations", "passes")}
        with atomic_folder(folder) as temporary:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary / "evidence.safetensors")
            (temporary / "evidence.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Evidence:
        """Read what `save` wrote; what a damaged folder raises depends on the damage."""
        from safetensors.numpy import load_file

        arrays = load_file(Path(folder) / "evidence.safetensors")
        meta = json.loads((Path(folder) / "evidence.json").read_text(encoding="utf-8"))
        index: dict[str, dict[str, np.ndarray]] = {}
        for key, value in arrays.items():
            if key.startswith("index."):
                name, role = key[len("index.") :].rsplit(".", 1)
                index.setdefault(name, {})[role] = value
        tokens = {k: arrays[f"tokens.{k}"] for k in TOKEN_FIELDS}
        kept = {int(k.split(".")[1]): v for k, v in arrays.items() if k.startswith("distribution.")}
        traces = {k[len("trace.") :]: v for k, v in arrays.items() if k.startswith("trace.")}
        gradients = {k[len("gradient.") :]: v for k, v in arrays.items() if k.startswith("gradient.")}
        # The order of the sets is that of the records (a JSON object keeps it).
        return cls(
            offsets=arrays["offsets"], tokens=tokens, distributions=kept, traces=traces, gradients=gradients,
            index={name: index[name] for name in meta["records"]}, **meta,
        )  # fmt: skip


def observe(
    model: Model, probes: Probes, spec: Spec | None = None, *, cache: str | Path | None = None, batch_size: int = 64
) -> Evidence:
    """Look at a model once.

    Args:
        model: The model; it is not changed.
        probes: Set name -> records.
        spec: What to observe.
        cache: Folder of the evidence cache; None caches nothing.
        batch_size: Texts per forward pass.
    """
    spec = spec or Spec()
    fingerprint = digest({name: list(records) for name, records in probes.items()})
    key = hashlib.sha256(f"{model.behaviour()}{fingerprint}{json.dumps(asdict(spec))}".encode()).hexdigest()[:32]
    stored = Path(cache) / key if cache is not None else None
    if stored is not None and (known := _stored(stored)) is not None:
        return replace(known, key=key)
    evidence = replace(_look(model, probes, fingerprint, spec, batch_size), key=key)
    if stored is not None:
        evidence.save(stored)
    return evidence


def _stored(folder: Path) -> Evidence | None:
    """Cached evidence; nothing where there is none or it is damaged (observing again mends that)."""
    from safetensors import SafetensorError

    try:
        return Evidence.load(folder)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _look(model: Model, probes: Probes, fingerprint: str, spec: Spec, batch_size: int) -> Evidence:
    texts: dict[str, tuple[int, Record]] = {}
    index = {name: _index(records, texts) for name, records in probes.items()}
    examples = model.encode([record for _, record in texts.values()])
    excluded = _excluded(model, probes)
    found: list[dict[str, np.ndarray]] = [{}] * len(examples)
    distributions: dict[int, np.ndarray] = {}
    keep: set[int] | None = None
    with model.evaluating():
        for batch in model.batches(examples, batch_size):
            for row, values, logp in _tokens(model, batch, excluded):
                if keep is None:  # how wide a distribution is shows with the first
                    keep = _kept(index, spec, [example.size for example in examples], logp.shape[-1])
                found[row] = values
                if row in keep:
                    distributions[row] = logp.cpu().numpy().copy()  # a view would keep the whole batch alive
    offsets = np.cumsum([0, *(len(values["logp"]) for values in found)])
    tokens = {name: np.concatenate([values[name] for values in found]) for name in TOKEN_FIELDS}
    generations, prompts = _generate(model, probes, spec)
    traces = _traces(model, probes, spec.traces) if spec.traces else {}
    sloped = {name: index[name]["answer"] for name in spec.gradients if name in index}
    gradients = _gradients(model, examples, sloped)
    passes = {"texts": len(examples), "prompts": prompts}
    if sloped:
        passes["gradients"] = len(np.unique(np.concatenate(list(sloped.values()))))
    return Evidence(
        family=model.family, model=model.fingerprint(), probes=fingerprint, offsets=offsets, tokens=tokens,
        index=index, records={name: [_plain(r) for r in records] for name, records in probes.items()},
        generations=generations, distributions=distributions, passes=passes,
        traces=traces, gradients=gradients,
    )  # fmt: skip


def _gradients(model: Model, examples: Sequence[Example], sets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gradient norms of the sets' texts, each distinct text once."""
    if not sets:
        return {}
    numbers = np.unique(np.concatenate(list(sets.values())))
    norms = gradient_norms(model, [examples[i] for i in numbers])
    return {f"{name}.{p}": rows[np.searchsorted(numbers, sets[name])] for name in sets for p, rows in norms.items()}


def _kept(index: Mapping[str, Mapping[str, np.ndarray]], spec: Spec, sizes: Sequence[int], width: int) -> set[int]:
    """Numbers of the texts whose distributions over `width` tokens are kept: the same for models of one tokenizer."""
    keep: set[int] = set()
    sets = [name for name in spec.distributions if name in index]
    for name in sets:
        texts = index[name]["answer"][: spec.rows]
        room = np.cumsum([sizes[i] for i in texts]) * width * 4 <= spec.memory * 2**20 / len(sets)
        keep |= {int(i) for i in texts[room]}
    return keep


def _index(records: Sequence[Record], texts: dict[str, tuple[int, Record]]) -> dict[str, np.ndarray]:
    def number(record: Record) -> int:
        key = digest({k: v for k, v in record.items() if k in SAID} or record)
        return texts.setdefault(key, (len(texts), record))[0]

    roles = {"answer": np.array([number(record) for record in records])}
    if records and all("paraphrased_answer" in record for record in records):
        roles["paraphrase"] = np.array([number({**r, "answer": r["paraphrased_answer"]}) for r in records])
    if records and all("perturbed_answer" in record for record in records):
        rows = [[number({**r, "answer": wrong}) for wrong in r["perturbed_answer"]] for r in records]
        width = min(len(row) for row in rows)
        roles["perturbed"] = np.array([row[:width] for row in rows])
    if records and all("choices" in record and "key" in record for record in records):
        if len({len(record["choices"]) for record in records}) > 1:
            raise InputError("The records of one set offer different numbers of choices; make each number a set.")
        roles["choices"] = np.array([[number({**r, "answer": one}) for one in r["choices"]] for r in records])
    for role in records[0].get("derived", {}) if records else ():
        rows = [record["derived"][role] for record in records]
        roles[role] = np.array([number(r) if isinstance(r, Mapping) else [number(one) for one in r] for r in rows])
    return roles


def _tokens(model: Model, batch: Batch, excluded: dict[int, list[int]]) -> Iterator[tuple[int, dict, Tensor]]:
    """Per text of the batch: its number, its token quantities and its log-probabilities (n, V)."""
    scored = batch.labels != IGNORED
    logits = model.logits(batch)[scored].float()  # (M, V): prompts and padding cost nothing from here on
    labels = batch.labels[scored][:, None]
    logp_all = logits.log_softmax(-1)
    p = logp_all.exp()
    mean = (p * logp_all).sum(-1)
    std = ((p * logp_all.square()).sum(-1) - mean.square()).clamp(min=0).sqrt()
    own = logits.gather(-1, labels)
    lower = torch.arange(logits.shape[-1], device=logits.device) < labels
    better = (logits > own) | ((logits == own) & lower)  # ties go to the lower id: equal scores are no knowledge
    if excluded:
        for row, user in enumerate(batch.inputs["users"].tolist()):  # one token per text: rows are users
            better[row, excluded.get(user, [])] = False
    rank = better.sum(-1)
    found = {
        "logp": logp_all.gather(-1, labels).squeeze(-1).cpu().numpy(),
        "hit": (rank == 0).cpu().numpy(),
        "mean": mean.cpu().numpy(),
        "std": std.cpu().numpy(),
        "rank": rank.to(torch.int32).cpu().numpy(),
    }
    ends = np.cumsum(scored.sum(-1).cpu().numpy())
    for number, start, end in zip(batch.index.tolist(), [0, *ends[:-1]], ends, strict=True):
        yield number, {name: values[start:end] for name, values in found.items()}, logp_all[start:end]


def _excluded(model: Model, probes: Probes) -> dict[int, list[int]]:
    """Items left out of each user's ranking: those of the retain set, the same for every model that is compared."""
    excluded: dict[int, list[int]] = {}
    if model.family == "recommender":
        for record in probes.get("retain", ()):
            excluded.setdefault(int(record["user"]), []).append(int(record["item"]))
    return excluded


def _generate(model: Model, probes: Probes, spec: Spec) -> tuple[dict[str, list[str]], int]:
    if "generate" not in model.abilities:
        return {}, 0
    budgets = dict(spec.budgets)
    asked: dict[str, list[tuple[str, int]]] = {
        name: [(model.prompt_of(record), budgets.get(name, spec.max_new_tokens)) for record in records]  # pyright: ignore[reportAttributeAccessIssue]
        for name, records in probes.items()
        if ("*" in spec.generate or name in spec.generate)
        and all("question" in record or "raw_prompt" in record for record in records)
    }
    answers: dict[tuple[str, int], str] = {}
    distinct = list(dict.fromkeys(one for prompts in asked.values() for one in prompts))
    for budget in sorted({budget for _, budget in distinct}):
        prompts = [prompt for prompt, longest in distinct if longest == budget]
        said = model.generate(prompts, budget, total=spec.total)  # pyright: ignore[reportAttributeAccessIssue]
        answers |= {(prompt, budget): text for prompt, text in zip(prompts, said, strict=True)}
    return {name: [answers[one] for one in prompts] for name, prompts in asked.items()}, len(distinct)


def _traces(model: Model, probes: Probes, spec: Traces) -> dict[str, np.ndarray]:
    """The value vectors, where the model has any and their questions are among the probes."""
    if not isinstance(model, LanguageModel):
        raise InputError(f"Value vectors are a language model's; this is a {model.family} model.")
    if spec.questions not in probes:
        raise InputError(f"The value vectors' questions {spec.questions!r} are none of the sets {', '.join(probes)}.")
    return look(model, [model.prompt_of(record) for record in probes[spec.questions]], spec)


def _plain(record: Record) -> dict[str, Any]:
    """The part of a record that a metric may need: no arrays."""
    return {k: v for k, v in record.items() if isinstance(v, str | int | float | list)}
