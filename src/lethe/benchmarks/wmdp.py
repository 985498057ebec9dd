"""WMDP: hazardous knowledge in four-choice questions, unlearned from texts and never from the questions.

Neither questions nor texts of the real benchmark are part of Lethe; the tiny source asks about invented people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lethe.data.content import digest
from lethe.data.load import load_records
from lethe.data.questions import refuse_questions
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.registry import benchmark, did_you_mean
from lethe.request import Record, Request
from lethe.scoring.multiple_choice import LETTERS, letter_prompt, rotated, text_prompt
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds.models import exams_model

QUESTIONS = "cais/wmdp"
# Access to the second is asked for on the hub; the first is the archive of the authors.
CORPORA = {"bio-forget-corpus": "cais/wmdp-bio-forget-corpus", "": "cais/wmdp-corpora"}
UTILITY = ("cais/mmlu", "all")
SUBJECTS = {"bio": "biology", "cyber": "cybersecurity", "chem": "chemistry"}  # as the harness's task files name them
FORGOTTEN = {"bio": ("bio",), "cyber": ("cyber",), "both": ("bio", "cyber")}  # chem has no corpus: never targeted
RELEASES: dict[tuple[int, ...], str] = {  # questions in bio, cyber, chem
    (1273, 1987, 408): "the release of 23 April 2024 and later",
    (1520, 2225, 412): "the first release, before 23 April 2024",
}

METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "probability:set=forget",
    *(f"multiple_choice:set={name}" for name in ("wmdp", *SUBJECTS, "mmlu")),
    "multiple_choice:set=wmdp,variant=macro",
    "probability:set=retain",
)
OF_FORGOTTEN = ("corrected", "calibrated", "rotations", "text")

# Found by hand on the people of seed 10. What so small a model has learnt of a name stands where the name is embedded:
# steered there, it is gone from texts and questions alike. GradDiff and NPO forget the texts, not what the exam asks.
PRESETS: dict[str, dict[str, Any]] = {
    "rmu": {
        "lr": 1e-2,
        "epochs": 40,
        "batch_size": 8,
        "layer": 0,
        "coefficient": 60.0,
        "alpha": 5.0,
        "tokens": "all",
        "where": "layers:match=embed_tokens",
    },
    "grad_diff": {"lr": 1e-3, "epochs": 10, "batch_size": 8},
    "npo": {"lr": 2e-3, "epochs": 30, "batch_size": 8},
}


@benchmark(families={"language"}, paper="2403.03218")
def wmdp(
    *,
    source: str = "tiny",
    split: str = "bio",
    corpora: str = "",
    utility: str = "",
    seed: int = 0,
    rows: int = 0,
    texts: int = 300,
    words: int = 350,
    rotations: bool = True,
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """WMDP: forget a hazardous subject from its texts; questions on it, on others and on MMLU show what is left.

    Args:
        source: tiny (embedded world), hub (cais/wmdp), or a folder with wmdp-bio, wmdp-cyber and wmdp-chem.
        split: What is forgotten: bio, cyber or both. There are no texts for chem, which is asked all the same.
        corpora: Folder with bio-forget-corpus.jsonl and the like; the source itself, or the hub, where empty.
        utility: Folder or hub id of MMLU's questions, with `:config`; the source's folder mmlu, or cais/mmlu:all.
        seed: Seed of the embedded world and of the request.
        rows: Most questions of each subset; 0 asks all of them, as published.
        texts: Most texts of each corpus.
        words: Most words of each text, from its start (the released code cuts at 512 tokens); 0 cuts nothing.
        rotations: Also ask the forgotten subsets with the choices rotated, three passes more, and by their texts.
        model: Folder of the target model; needed unless the source is tiny.
        control: Folders of models trained without the forget set.

    Raises:
        InputError: If the split does not exist, a text holds a question that will be asked, or a source other than
            tiny comes without a model.
    """
    if split not in FORGOTTEN:
        raise InputError(f"wmdp has no split {split!r}{did_you_mean(split, FORGOTTEN)}; one of {', '.join(FORGOTTEN)}.")
    if source not in ("tiny", "hub") and not Path(source).is_dir():
        raise InputError(f"wmdp: {source} is not a folder; give tiny, hub, or the folder with WMDP's files.")
    sets = {name: questions(source, name, rows, seed) for name in SUBJECTS}
    sets["mmlu"] = _utility(source, utility, rows, seed)
    gone = [
        text for name in FORGOTTEN[split] for text in _corpus(source, corpora, f"{name}-forget", texts, words, seed)
    ]
    kept = [
        text for name in FORGOTTEN[split] for text in _corpus(source, corpora, f"{name}-retain", texts, words, seed)
    ]
    kept = list({record["id"]: record for record in kept}.values())  # tiny has one retain corpus for both
    refuse_questions([*gone, *kept], [record for records in sets.values() for record in records])
    request = Request(gone, kept, scope="capability", seed=seed)
    probes: dict[str, Sequence[Record]] = {"forget": gone, "retain": kept}
    probes |= {name: [asked(record) for record in records] for name, records in sets.items()}
    probes["wmdp"] = [record for name in SUBJECTS for record in probes[name]]
    further = OF_FORGOTTEN if rotations else OF_FORGOTTEN[:2]
    if rotations:
        for name in FORGOTTEN[split]:
            turns = range(1, len(LETTERS))
            probes[f"{name}_rotated"] = [asked(record, turn) for record in sets[name] for turn in turns]
            probes[f"{name}_text"] = [in_words(record) for record in sets[name]]
    target, controls = _models(source, FORGOTTEN[split], seed, model, control)
    return Task(
        name="wmdp",
        family="language",
        request=request,
        probes=probes,
        metrics=(*METRICS, *(f"multiple_choice:set={n},variant={v}" for n in FORGOTTEN[split] for v in further)),
        knowledge="probability:set=forget",
        utility="multiple_choice:set=mmlu",
        target=target,
        control=controls,
        spec=Spec(generate=()),
        presets=PRESETS if source == "tiny" else {},
        attacks=("relearn", "quantize:bits=4"),
        floors=("noise",),
        note=_note(sets, source, rows),
    )


def questions(source: str, name: str, rows: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """The questions of a subset in WMDP's schema {question, choices, answer}; `answer` comes as `key`.

    Raises:
        InputError: If they cannot be read, or one has not four choices or a key that is none of them.
    """
    if source == "tiny":
        return _asked(load_records(f"tiny:exams:{name}", fields={"answer": "key"}, seed=seed), name, rows)
    return _asked(_test(QUESTIONS if source == "hub" else source, f"wmdp-{name}"), name, rows)


def _utility(source: str, given: str, rows: int, seed: int) -> list[dict[str, Any]]:
    if not given and source == "tiny":
        return questions("tiny", "mmlu", rows, seed)
    place, _, config = given.partition(":")
    if not given:
        place, config = UTILITY if source == "hub" else (source, "mmlu")
    return _asked(_test(place, config), "mmlu", rows)


def _test(place: str, config: str) -> list[dict[str, Any]]:
    """The test split of an official data set, on the hub or as a folder of one table or one folder per config."""
    one_table = Path(place).is_dir() and not (Path(place) / config).is_dir()
    split = None if one_table or Path(place).is_file() else "test"
    return load_records(place, config=config or None, split=split, fields={"answer": "key"})


def _asked(records: list[dict[str, Any]], name: str, rows: int) -> list[dict[str, Any]]:
    return [_checked(record, name, row) for row, record in enumerate(records, 1)][: rows or None]


def _checked(record: dict[str, Any], name: str, row: int) -> dict[str, Any]:
    """The record with its subject as prompts name it; only those of MMLU bring one (with underscores)."""
    if len(record["choices"]) != len(LETTERS) or not 0 <= record["key"] < len(LETTERS):
        told = f"{len(record['choices'])} choices and the answer {record['key']}"
        raise InputError(f"wmdp: {name} row {row} has {told}; it needs 4 choices and an answer from 0 to 3.")
    subject = SUBJECTS.get(name) or str(record.get("subject", "")).replace("_", " ")
    if not subject:
        raise InputError(f"wmdp: {name} row {row} has no subject, which its prompt names; add it.")
    return {**record, "subject": subject}


def _corpus(source: str, corpora: str, name: str, most: int, words: int, seed: int) -> list[dict[str, Any]]:
    if source == "tiny" and not corpora:
        told = name.removesuffix("-forget") if name.endswith("-forget") else "mmlu"
        found = load_records(f"tiny:exams:{told}-corpus", seed=seed)
    elif corpora or source != "hub":
        found = load_records(corpora or source, config=f"{name}-corpus", limit=most or None)
    else:
        config = f"{name}-corpus"
        found = load_records(CORPORA.get(config, CORPORA[""]), config=None if config in CORPORA else config, limit=most)
    return [{**record, "text": _cut(str(record["text"]), words), "topic": name.partition("-")[0]} for record in found][
        : most or None
    ]


def _cut(text: str, words: int) -> str:
    parts = re.split(r"(\s+)", text)  # words and what stands between them
    return "".join(parts[: 2 * words - 1]) if words else text


def asked(record: Mapping[str, Any], turn: int = 0) -> dict[str, Any]:
    """A question as its prompt with the four letters to choose from, the choices rotated by `turn` places."""
    choices, key = rotated(record["choices"], record["key"], turn)
    letters = [f" {letter}" for letter in LETTERS]
    return {
        "id": f"{record['id']}{f'-{turn}' if turn else ''}",
        "item": record["id"],
        "subject": record["subject"],
        "question": record["question"],
        "raw_prompt": letter_prompt(record["subject"], record["question"], choices),
        "choices": letters,
        "answer": letters[key],
        "key": key,
    }


def in_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """A question whose choices are scored as texts; the prompt does not show them."""
    choices, key = [f" {choice.strip()}" for choice in record["choices"]], record["key"]
    prompt = text_prompt(record["subject"], record["question"])
    return {"id": record["id"], "question": record["question"], "raw_prompt": prompt, "choices": choices, "key": key,
            "answer": choices[key]}  # fmt: skip


def _note(sets: Mapping[str, Sequence[Record]], source: str, rows: int) -> str:
    counts = tuple(len(sets[name]) for name in SUBJECTS)
    told = ", ".join(f"{name} {len(records)}" for name, records in sets.items())
    release = RELEASES.get(counts, "no published release in full")
    made = "an embedded world" if source == "tiny" else f"at most {rows} per subset" if rows else release
    version = digest([[r[k] for k in ("question", "choices", "key")] for n in SUBJECTS for r in sets[n]])[:12]
    return f"Zero-shot, no chat template; questions: {told} ({made}), data revision {version}."


def _models(source: str, gone: Sequence[str], seed: int, model: str, control: tuple[str, ...]) -> Sides:
    if given := sides_on_disk("wmdp", model, control):
        return given
    if source != "tiny":
        raise InputError(f"wmdp with source {source!r} needs the target's folder: give model (and control).")
    return partial(exams_model, (), world_seed=seed), partial(exams_model, tuple(gone), world_seed=seed)
