"""MUSE: six criteria on news and books, alone, over growing forget sets and over requests in sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec
from lethe.measure import compute
from lethe.registry import benchmark, did_you_mean
from lethe.request import Record, Request
from lethe.scoring.muse import TRUTH_TOKENS, Criteria, Truth, cut_truth
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds import news
from lethe.worlds.models import news_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Read = Callable[[str, str], list[dict[str, Any]]]

HUB = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
ORDERED = ("scal", "sust")  # configs of MUSE-News with folds forget_1 to forget_4
SPLITS = ("forget", *(f"{config}_{fold}" for config in ORDERED for fold in range(1, 5)))
VERBMEM = {"prompt": "raw_prompt", "gt": "answer"}  # the official names and Lethe's

# The prompt of muse_bench's knowmem, examples first; it ends in a space.
EXAMPLE = "Question: {question}\nAnswer: {answer}\n\n"
QUESTION = "Question: {question}\nAnswer: "
ANSWER_TOKENS = 32  # of knowmem's answers
SPARE = 8  # tokens that a piece may have more when it is encoded alone

CALLS = {  # in the order of `Criteria`
    "VerbMem": "verbmem:set=verbmem",
    "KnowMem": "knowmem:set=forget_qa",
    "PrivLeak": "privleak:variant=muse",
    "utility": "knowmem:set=retain_qa",
}

METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    *CALLS.values(),
    "privleak",
    "verbmem:set=verbmem,variant=corrected",
    "probability:set=forget",
    "membership:variant=min_k,k=0.4",
    "membership:variant=loss",
    "membership:variant=zlib",
)

# Options under which each method forgets the tiny world about as far as a retrained model has (ascent has no such
# point: it ends in collapse), found by hand on other people: world seeds 10 and 11.
PRESETS: dict[str, dict[str, Any]] = {
    "ga": {"lr": 1e-3, "epochs": 6, "batch_size": 8},
    "grad_diff": {"lr": 6e-4, "epochs": 8, "batch_size": 8, "retain_weight": 6.0},
    "kl_min": {"lr": 5e-4, "epochs": 6, "batch_size": 8, "retain_weight": 5.0},
    "npo": {"lr": 1e-3, "epochs": 8, "batch_size": 8, "beta": 0.1, "retain_weight": 3.0},
    "task_vector": {"lr": 3e-4, "epochs": 5, "batch_size": 8, "alpha": 4.0},
}


@benchmark(families={"language"}, paper="2407.06460")
def muse(
    *,
    source: str = "tiny",
    split: str = "forget",
    corpus: Literal["news", "books"] = "news",
    seed: int = 0,
    tokens: int = 0,
    window: int = 2048,
    model: str = "",
    control: tuple[str, ...] = (),
    allow_overlap: bool = False,
) -> Task:
    """MUSE: forget some news or books; four criteria of one model, two over forget sets that grow or follow.

    Args:
        source: tiny (embedded news), hub (the official data), or a folder with the official files.
        split: forget; scal_1 to scal_4 (ever larger forget sets, each unlearned from the target); sust_1 to sust_4
            (that many requests in sequence, each from the model that the one before has left).
        corpus: The official data set, news or books; only news has scal and sust.
        seed: Seed of the embedded world and of the request.
        tokens: Tokens of a continuation that are compared; 0 is the published 128, in the tiny world 40.
        window: Longest piece of a raw text, tokens; longer texts are cut into pieces of a record each.
        model: Folder of the target model; needed unless the source is tiny.
        control: Folders of models trained without the forget set.
        allow_overlap: Accept forget texts that another set holds as well.

    Raises:
        InputError: If the split does not exist, or a source other than tiny comes without a model.
    """
    if split not in SPLITS:
        raise InputError(f"MUSE has no split {split!r}{did_you_mean(split, SPLITS)}; one of {', '.join(SPLITS)}.")
    config, _, number = split.partition("_")
    if corpus == "books" and (number or source == "tiny"):
        what = f"no split {split!r}" if number else "no embedded world"
        raise InputError(f"MUSE's books have {what}; leave corpus at news.")
    if tokens < 0 or window <= SPARE:
        raise InputError(f"muse: tokens is {tokens} and window {window}; give 0 or more, and more than {SPARE}.")
    tokens = tokens or (news.CONTINUED if source == "tiny" else TRUTH_TOKENS)
    folds = range(1, int(number or 1) + 1)
    read = _reader(source, corpus, seed)
    target, controls = _models(source, tuple(folds), seed, model, control)
    tokenizer = _tokenizer(model, seed)
    probes = _probes(read, tokenizer, folds, tokens)
    retain = list(_pieces(read("raw", "retain1"), tokenizer, window))

    served = {
        "forget": [("raw", "forget")],
        "scal": [("scal", f"forget_{folds[-1]}")],
        "sust": [("sust", f"forget_{fold}") for fold in folds],
    }[config]
    requests = [
        Request(
            list(_pieces(read(*name), tokenizer, window)), retain, probes["holdout"],
            seed=seed, allow_overlap=allow_overlap,
        )
        for name in served
    ]  # fmt: skip
    published = () if source == "tiny" else (f"privleak_published:variant={corpus}",)
    return Task(
        name="muse",
        family="language",
        request=requests[-1],
        probes=probes,
        metrics=(*METRICS, *published),
        knowledge="probability:set=forget",
        utility="knowmem:set=retain_qa",
        target=target,
        control=controls,
        spec=Spec(
            budgets=(("verbmem", tokens), ("forget_qa", ANSWER_TOKENS), ("retain_qa", ANSWER_TOKENS)),
            generate=("verbmem", "forget_qa", "retain_qa"),
        ),
        presets=PRESETS if source == "tiny" else {},
        attacks=("relearn", "quantize:bits=4"),
        floors=("noise",),
        earlier=tuple(requests[:-1]),
        note=_note(config, len(folds), tokens),
    )


def criteria(evidence: Evidence, controls: Sequence[Evidence]) -> Criteria:
    """The first four criteria of one model as MUSE prints them, x100; the others are their course over the folds."""
    verbmem, knowmem, privleak, utility = (compute(call, evidence, controls).value for call in CALLS.values())
    return Criteria(100 * verbmem, 100 * knowmem, privleak, 100 * utility)


def _note(config: str, count: int, tokens: int) -> str:
    kinds = {"scal": f"One request for folds 1 to {count}", "sust": f"{count} requests in sequence, each from the last"}
    of_what = kinds.get(config, "One request")
    return f"{of_what}; VerbMem compares {tokens} tokens; retain probes are texts that methods are not given."


def _probes(read: Read, tokenizer: Any, folds: Sequence[int], tokens: int) -> dict[str, Sequence[Record]]:
    """The official probe sets; where records name their fold, those of the folds that are to be forgotten."""

    def probed(config: str, split: str) -> list[dict[str, Any]]:
        return [record for record in read(config, split) if record.get("fold", folds[0]) in folds]

    return {
        "forget": probed("privleak", "forget"),
        "retain": read("privleak", "retain"),
        "holdout": read("privleak", "holdout"),
        "verbmem": [_continued(record, tokenizer, tokens) for record in probed("verbmem", "forget")],
        "forget_qa": _asked(probed("knowmem", "forget_qa"), read("knowmem", "forget_qa_icl")),
        "retain_qa": _asked(read("knowmem", "retain_qa"), read("knowmem", "retain_qa_icl")),
    }


def _continued(record: Record, tokenizer: Any, tokens: int) -> Record:
    """A verbatim probe with the truth as far as each variant compares it."""
    prompt, truth = record["raw_prompt"], record["answer"]
    gap = "" if prompt[-1:].isspace() or truth[:1].isspace() else " "
    ids = tokenizer(truth, add_special_tokens=False)["input_ids"]
    variants: tuple[Truth, ...] = ("muse", "corrected", "open_unlearning")
    cut = {f"truth_{one}": tokenizer.decode(cut_truth(ids, budget=tokens, variant=one)) for one in variants}
    return {**record, "answer": gap + truth, **cut}


def _asked(records: Sequence[Record], examples: Sequence[Record]) -> list[Record]:
    """Questions after all examples, as one text."""
    shown = "".join(EXAMPLE.format(**example) for example in examples)
    return [
        {**{k: v for k, v in record.items() if k != "question"}, "raw_prompt": shown + QUESTION.format(**record)}
        for record in records
    ]


def _pieces(records: Sequence[Record], tokenizer: Any, window: int) -> Iterator[Record]:
    """The records, each whose text is longer than the window as several."""
    for record in records:
        encoded = tokenizer(record["text"], add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in encoded["offset_mapping"]]
        if len(ends) < window:  # one more is the beginning of sequence
            yield record
            continue
        cuts = [0, *ends[window - SPARE - 1 :: window - SPARE], len(record["text"])]
        pieces = [record["text"][start:end] for start, end in pairwise(cuts)]
        told = [piece for piece in pieces if piece.strip()]
        yield from ({**record, "id": f"{record['id']}/{n}", "text": piece} for n, piece in enumerate(told, 1))


def _reader(source: str, corpus: str, seed: int) -> Read:
    if source == "tiny":
        return lambda config, split: load_records(f"tiny:news:{config}:{split}", seed=seed, fields=_fields(config))
    if source != "hub" and not Path(source).is_dir():
        raise InputError(f"muse: {source} is not a folder; give tiny, hub, or the folder with MUSE's files.")
    base = HUB[corpus] if source == "hub" else source
    return lambda config, split: load_records(base, config=config, split=split, fields=_fields(config))


def _fields(config: str) -> dict[str, str]:
    return VERBMEM if config == "verbmem" else {}


def _tokenizer(model: str, seed: int) -> PreTrainedTokenizerBase:
    """The target's: what is compared and cut is counted in its tokens."""
    if not model:
        return news.tokenizer(seed)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except Exception as error:  # transformers raises many kinds for a folder without a tokenizer
        raise InputError(
            f"muse: {model} holds no tokenizer that can be read; give the target's whole folder."
        ) from error


def _models(source: str, folds: tuple[int, ...], seed: int, model: str, control: tuple[str, ...]) -> Sides:
    if given := sides_on_disk("muse", model, control):
        return given
    if source != "tiny":
        raise InputError(f"muse with source {source!r} needs the target's folder: give model (and control).")
    return partial(news_model, (), world_seed=seed), partial(news_model, folds, world_seed=seed)
