"""The whole TOFU suite: how often is the model asked, and what does everything beside asking it cost?

Counts every text that really passes through the model (forward hooks, not bookkeeping) and compares the suite's CPU
time with a bare loop that runs the same texts once and generates the same answers once. Prints one JSON line.
"""

from __future__ import annotations

import json
import time
from typing import Any

import torch

from lethe.benchmarks.tofu import tofu
from lethe.data.content import digest
from lethe.evidence import observe
from lethe.measure import measure
from lethe.models.base import Model


class Counter:
    """Texts and prompts that pass through a model, by content."""

    def __init__(self, model: Any) -> None:
        self.texts: list[str] = []
        self.prompts = 0
        self.generating = False
        model.module.register_forward_pre_hook(self._forward, with_kwargs=True)
        generate = model.module.generate

        def counted(**inputs: Any) -> Any:
            self.prompts += len(inputs["input_ids"])
            self.generating = True
            try:
                return generate(**inputs)
            finally:
                self.generating = False

        model.module.generate = counted

    def _forward(self, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        if not self.generating:
            for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
                self.texts.append(digest(ids[mask.bool()].tolist()))


def bare(model: Model, texts: list[dict[str, Any]], prompts: list[str], budget: int) -> float:
    """CPU seconds of one pass over the texts and one generation per prompt, nothing kept."""
    start = time.process_time()
    with model.evaluating():
        for batch in model.batches(model.encode(texts)):
            model.logits(batch)
        model.generate(prompts, budget)  # pyright: ignore[reportAttributeAccessIssue]
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    task = tofu(source="tiny", split="forget10")
    assert task.control is not None
    target, controls = task.target(0), [observe(task.control(seed), task.probes, task.spec) for seed in (1, 2)]
    seen: dict[str, dict[str, Any]] = {}
    questions: dict[str, None] = {}
    for records in task.probes.values():
        for record in records:
            questions.setdefault(record["question"])
            answers = [record["answer"], *record.get("perturbed_answer", ())]
            answers += [record["paraphrased_answer"]] if "paraphrased_answer" in record else []
            for answer in answers:
                seen.setdefault(f"{record['question']}\n{answer}", {**record, "answer": answer})
    prompts = [target.prompt(question) for question in questions]
    floor = min(bare(target, list(seen.values()), prompts, task.spec.max_new_tokens) for _ in range(2))
    counter = Counter(target)
    start = time.process_time()
    evidence = observe(target, task.probes, task.spec)
    looked = time.process_time() - start
    scores = measure(task.metrics, evidence, controls)
    total = time.process_time() - start
    print(
        json.dumps(
            {
                "suite": "tofu tiny forget10",
                "metrics": len(scores),
                "distinct_texts": len(seen),
                "passes_per_distinct_text": len(counter.texts) / len(seen),
                "distinct_prompts": len(prompts),
                "generations_per_distinct_prompt": counter.prompts / len(prompts),
                "cpu_seconds": round(total, 2),
                "observe_over_bare_pass": round(looked / floor, 3),
                "suite_over_bare_pass": round(total / floor, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
