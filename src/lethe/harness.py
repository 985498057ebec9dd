"""Lethe's language models in the language model evaluation harness (lm-eval, the extra `eval`).

Importing this module makes the model `lethe` known to the harness. Its own command line, with that model among the
others, is `python -m lethe.harness --model lethe --model_args pretrained=FOLDER --tasks wmdp`; `evaluate` is the same
from Python. Texts become tokens exactly as the harness does it for `--model hf` (a beginning-of-sequence token where
the tokenizer adds one); what reads them is Lethe, so that a folder is complete and intact or refused, decoding methods
and rules at the output take effect, and no code from a folder is run unasked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.models import load
from lethe.models.language import LanguageModel

try:
    from lm_eval import evaluator
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise InputError("The evaluation harness needs an extra; pip install 'lethe-ml[eval]'.") from error

NEW_TOKENS = 256  # of a generation, where a task does not say
Request = tuple[Any, list[int], list[int]]  # what it is cached by, tokens before, tokens scored


class HarnessModel(TemplateLM):
    """A model folder of Lethe as a model of the harness.

    Log-likelihoods are those of the weights, with what a decoding method adds; rules at the output (a guard) rewrite
    generated answers alone.
    """

    def __init__(
        self,
        pretrained: str | LanguageModel,
        batch_size: int | str = 16,
        max_length: int = 0,
        add_bos_token: bool | None = None,
        trust_remote_code: bool = False,
        device: str | None = None,
        **others: Any,
    ) -> None:
        """Load the model.

        Args:
            pretrained: Folder, hub id, or a language model.
            batch_size: Texts per forward pass; auto stands for 16.
            max_length: Most tokens read, counted from the end of a text; 0 stands for the model's context.
            add_bos_token: Whether every text begins with that token; by default as the tokenizer does.
            trust_remote_code: Run code that comes with the model.
            device: A device of torch; the GPU where there is one by default.
            others: Options of the harness that have no meaning here (max_batch_size).

        Raises:
            InputError: If the folder is no intact language model, or an option does not exist.
        """
        super().__init__()
        if unknown := sorted(set(others) - {"max_batch_size"}):
            known = "pretrained, batch_size, max_length, add_bos_token, trust_remote_code, device"
            raise InputError(f"The harness model lethe has no argument {unknown[0]!r}; it takes {known}.")
        if isinstance(pretrained, str):
            loaded = load(pretrained, family="language", trust_remote_code=trust_remote_code, device=device or "auto")
            assert isinstance(loaded, LanguageModel)
            pretrained = loaded
        self.model = pretrained
        self.tokenizer: Any = pretrained.tokenizer
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else 16
        self.max_length = min(max_length or pretrained.max_length, pretrained.max_length)
        self.add_bos_token = add_bos_token

    @property
    def device(self) -> Any:
        """Where the weights are."""
        return self.model.device

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that begins with nothing."""
        begins = self.tokenizer.bos_token_id
        return self.eot_token_id if begins is None else begins

    @property
    def tokenizer_name(self) -> str:
        """Under which the harness keeps its requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids; a text that begins with the beginning-of-sequence token gets no second one."""
        chosen = self.add_bos_token if add_special_tokens is None else add_special_tokens
        if add_special_tokens is None and string.startswith(self.tokenizer.decode([self.prefix_token_id])):
            chosen = False
        options = {} if chosen is None else {"add_special_tokens": chosen}
        return list(self.tokenizer(string, **options)["input_ids"])

    def _loglikelihood_tokens(self, requests: Sequence[Request], **kwargs: Any) -> list[tuple[float, bool]]:
        """Per request the summed log-likelihood of its second part, and whether greedy decoding would say it."""
        cut = [(before, said, (before + said)[-(self.max_length + 1) : -1]) for _, before, said in requests]
        order = sorted(range(len(cut)), key=lambda number: len(cut[number][2]))
        found: dict[int, tuple[float, bool]] = {}
        with self.model.evaluating():
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                for row, logp in zip(rows, self._read([cut[row][2] for row in rows]), strict=True):
                    said = torch.tensor(cut[row][1], device=logp.device)
                    logp = logp[-len(said) :]
                    own = logp.gather(-1, said[:, None]).sum()
                    found[row] = float(own), bool((logp.argmax(-1) == said).all())
        for number, (key, *_) in enumerate(requests):
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, found[number])
        return [found[number] for number in range(len(cut))]

    def _read(self, texts: Sequence[list[int]]) -> Iterator[Tensor]:
        """Log-probabilities (T, V) of what follows each token of each text, padded on the right."""
        width = max(map(len, texts))
        ids = torch.tensor([[*text, *[self.model.pad] * (width - len(text))] for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
        logits = self.model.module(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=False
        ).logits
        for row, text in enumerate(texts):
            yield logits[row, : len(text)].float().log_softmax(-1)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts, longer ones in windows whose tokens are scored once."""
        totals = []
        for (text,) in (request.args for request in requests):
            windows = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
            scored = self._loglikelihood_tokens([(None, *make_disjoint_window(window)) for window in windows])
            totals.append(sum(value for value, _ in scored))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
        return totals

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Continuations up to a stop string; greedy unless a task asks for a temperature."""
        texts = []
        for asked, given in (request.args for request in requests):
            stops, most = given.get("until") or [], int(given.get("max_gen_toks", NEW_TOKENS))
            if most >= self.max_length:
                raise InputError(f"The task asks for {most} new tokens; the model's context has {self.max_length}.")
            heat = float(given.get("temperature", 0)) if given.get("do_sample") else 0.0
            # The model adds its first token where it has no chat template; with one, the text has to bring it.
            prompt, begins = asked, self.tok_encode(asked)[0] == self.tokenizer.bos_token_id
            first = begins and self.tokenizer.chat_template and not prompt.startswith(self.tokenizer.bos_token)
            (text,) = self.model.generate(
                [self.tokenizer.bos_token + prompt if first else prompt], most, temperature=heat
            )
            texts.append(until(text, [stops] if isinstance(stops, str) else stops))
            self.cache_hook.add_partial("generate_until", (asked, given), texts[-1])
        return texts

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Turns of a conversation as the tokenizer's template writes them."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )


register_model("lethe")(HarnessModel)


def until(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the stop strings."""
    for stop in filter(None, stops):
        text = text.split(stop, 1)[0]
    return text


def evaluate(
    model: str | LanguageModel,
    tasks: Sequence[str],
    *,
    include_path: str | None = None,
    limit: int | None = None,
    batch_size: int = 16,
    **options: Any,
) -> dict[str, Any]:
    """Run tasks of the harness on a model; returns its results: "results" by task, "groups", "samples", "n-samples".

    Args:
        model: Folder, hub id, or a language model.
        tasks: Names of tasks or groups, such as wmdp, wmdp_bio or mmlu.
        include_path: Folder with task files of your own.
        limit: Most items of each task.
        batch_size: Texts per forward pass.
        options: Further arguments of the harness's simple_evaluate, such as num_fewshot.

    Raises:
        InputError: If the model cannot be loaded, or there is no such task.
    """
    make: Any = TaskManager
    manager = make(include_path=include_path)
    for task in tasks:
        if not manager.match_tasks([task]):
            raise InputError(f"The harness has no task {task!r}; give include_path for one of your own.")
    loaded = HarnessModel(model, batch_size=batch_size)
    run: Any = evaluator.simple_evaluate
    found = run(model=loaded, tasks=list(tasks), task_manager=manager, limit=limit, **options)
    assert found is not None  # of the first process; others are not started here
    return dict(found)


def main() -> None:
    """The harness's own command line, with the model `lethe` among the others."""
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except InputError as error:
        sys.exit(f"lethe: {error}")


if __name__ == "__main__":
    main()
