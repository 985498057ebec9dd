"""Lethe's training loop against a bare PyTorch loop: steps per second, and what NPO costs in memory beside GradDiff.

    python benchmarks_perf/train_step.py [--rounds 15] [--steps 20]

Speed: a Llama of 4 layers and 128 channels, batches of 8 forget and 8 retain questions, AdamW, clipping at 1, one
thread. The bare loop is given its batches collated beforehand and does nothing but forward, backward, clip and step;
Lethe's is `train` as a user calls it, with its log on disk. Rounds of the two alternate, each on a copy of the same
model; reported are medians over rounds, and the median of the rounds' ratios in seconds and in processor seconds (which
other programs on the machine disturb less). Both loops must end with the same weights.

Memory: the highest resident set while the whole method runs, above what was resident before it, each in a process of
its own (Linux: VmHWM, reset through clear_refs; malloc gives large blocks back at once). Median of three processes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lethe import registry
from lethe.data.order import plan
from lethe.descent.terms import ascend, own_loss
from lethe.losses import preference
from lethe.models.base import Batch, per_example
from lethe.models.language import LanguageModel
from lethe.request import Request
from lethe.train import Recipe, Term, train

WORDS, BATCH, LR, CLIP, BETA = 2048, 8, 1e-4, 1.0, 0.1


def setting() -> tuple[LanguageModel, Request]:
    """The model, and 160 questions with answers of 20 to 60 words, 40 of them to be forgotten."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vocabulary = {f"w{i}": i for i in range(WORDS - 2)} | {"<unk>": WORDS - 2, "<eos>": WORDS - 1}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=256,
    )  # fmt: skip
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> str:
        return " ".join(f"w{i}" for i in rng.integers(WORDS - 2, size=rng.integers(low, high)))

    records = [{"id": f"r{i}", "question": text(8, 20), "answer": text(20, 60)} for i in range(160)]
    return LanguageModel(LlamaForCausalLM(config).eval(), tokenizer), Request(records[:40], records[40:])


def terms(name: str, model: LanguageModel, request: Request) -> list[Term]:
    """What the methods of these names minimise."""
    retain = Term("retain", model.encode(request.retain), own_loss, per="token")
    if name == "grad_diff":
        return [ascend(model, request), retain]
    examples = model.encode(request.forget)
    reference = per_example(model, examples)

    def leave(model: LanguageModel, batch: Batch) -> Tensor:
        return preference.npo(model.loss(batch), reference[batch.index], beta=BETA)

    return [Term("forget", examples, leave, role="forget"), retain]


def by_lethe(name: str, model: LanguageModel, request: Request, steps: int) -> Callable[[], None]:
    made = terms(name, model, request)
    recipe = Recipe(lr=LR, steps=steps, batch_size=BATCH, clip=CLIP)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(model, made, recipe, folder=folder)

    return run


def by_hand(name: str, model: LanguageModel, request: Request, steps: int) -> Callable[[], None]:
    """The loop that one would write for this objective and no other, on tensors that are ready."""
    module: Any = model.module
    examples = {"forget": model.encode(request.forget), "retain": model.encode(request.retain)}
    reference = per_example(model, examples["forget"])
    lengths = {key: [example.length for example in group] for key, group in examples.items()}
    batches = [
        {key: model.collate([examples[key][row] for row in rows], rows) for key, rows in step.items()}
        for _, step in plan(lengths, lambda epoch: ["forget", "retain"], BATCH, 0, 1, steps)
    ]

    def nll(batch: Batch) -> Tensor:
        logits = module(**batch.inputs, use_cache=False).logits[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100, reduction="none")

    def run() -> None:
        module.train()
        optimizer = torch.optim.AdamW(module.parameters(), lr=LR, weight_decay=0.0)
        for batch in batches:
            forget, retain = batch["forget"], batch["retain"]
            optimizer.zero_grad()
            if name == "grad_diff":
                left = -nll(forget).sum() / (forget.labels != -100).sum()
            else:
                difference = nll(forget).view(forget.labels.shape).sum(1) - reference[forget.index]
                left = (-2 / BETA * F.logsigmoid(BETA * difference)).mean()
            (left + nll(retain).sum() / (retain.labels != -100).sum()).backward()
            nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
        module.eval()

    return run


def speed(name: str, rounds: int, steps: int) -> dict[str, float]:
    """Steps per second of both, in alternation."""
    model, request = setting()
    ways = {"lethe": by_lethe, "bare": by_hand}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        ended: dict[str, LanguageModel] = {}
        for way in ways if turn % 2 else reversed(ways):
            ended[way] = model.copy()
            run = ways[way](name, ended[way], request, steps)
            wall, used = time.perf_counter(), time.process_time()
            run()
            seconds[way].append(time.perf_counter() - wall)
            processor[way].append(time.process_time() - used)
        for ours, theirs in zip(ended["lethe"].module.parameters(), ended["bare"].module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    rates = {f"{way}_steps_per_s": steps / statistics.median(taken[1:]) for way, taken in seconds.items()}
    return rates | {"ratio": ratio(seconds), "ratio_cpu": ratio(processor)}


def ratio(taken: dict[str, list[float]]) -> float:
    """How fast Lethe's loop is, the bare one being 1; the first round only warms up."""
    rounds = list(zip(taken["bare"], taken["lethe"], strict=True))[1:]
    return statistics.median(bare / lethe for bare, lethe in rounds)


def resident(field: str) -> int:
    """A line of /proc/self/status in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split(f"{field}:")[1].split()[0])


def peak(name: str) -> None:
    """Run one method, print the bytes that it needed beyond what was there before."""
    model, request = setting()
    function = registry.find("method", name).function
    function(model, request, steps=1, batch_size=BATCH)  # what is imported on first use is no cost of the objective
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = resident("VmRSS")
    function(model, request, steps=20, batch_size=BATCH, lr=LR, clip=CLIP)
    print(resident("VmHWM") - before)


def peaks(name: str, processes: int = 3) -> float:
    """Median MiB of several processes."""
    returning = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--peak", name]
    run = functools.partial(subprocess.run, command, env=returning, capture_output=True, text=True, check=True)
    return statistics.median(int(run().stdout) for _ in range(processes)) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        peak(asked.peak)
        return
    result: dict[str, Any] = {"benchmark": "train_step", "rounds": asked.rounds, "steps": asked.steps}
    result |= {name: speed(name, asked.rounds, asked.steps) for name in ("grad_diff", "npo")}
    memory = {name: peaks(name) for name in ("grad_diff", "npo")}
    result["peak_mib"] = memory | {"ratio": memory["npo"] / memory["grad_diff"]}
    print(json.dumps(result, default=float))


if __name__ == "__main__":
    main()
