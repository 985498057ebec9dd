"""Causal language models: any `AutoModelForCausalLM` folder."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from lethe.data.atomic import folder as atomic_folder
from lethe.errors import InputError
from lethe.models import guard
from lethe.models.base import IGNORED, Batch, Example, Model, check_complete, check_weights
from lethe.models.mixture import layers_of

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

DIFFERENCE = "lethe.models.difference"
PROMPT = "Question: {question}\nAnswer:"  # TOFU's template for models without a chat format
OTHER_ANSWERS = ("paraphrased_answer", "perturbed_answer", "choices")
UNSTATED_CONTEXT = 2048  # tokens, for architectures without position embeddings


class LanguageModel(Model):
    """A causal language model with its tokenizer.

    Records are `{"question", "answer"}` (loss on the answer tokens and one end-of-sequence token), `{"text"}` (loss on
    every token that has a predecessor), or `{"raw_prompt", "answer"}`: two texts joined as they stand, without template
    or end of sequence, loss on the second. A chat template, where the tokenizer has one, is used for questions; an
    `answer_prefix` is what the answer begins with and is not scored.
    """

    family: ClassVar[str] = "language"
    abilities: frozenset[str] = frozenset({"loss", "nll", "logits", "hidden", "generate"})
    record_fields: ClassVar[tuple[str, ...]] = ("question", "answer")

    def __init__(self, module: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length: int = 0) -> None:
        super().__init__(module)
        if layers_of(module):
            self.abilities = self.abilities | {"experts"}
        self.tokenizer = tokenizer
        config: Any = module.config
        context = getattr(config, "max_position_embeddings", None) or UNSTATED_CONTEXT
        self.max_length = min(max_length or context, context)
        rows = module.get_input_embeddings().weight.shape[0]  # pyright: ignore[reportCallIssue]
        if len(tokenizer) > rows:
            raise InputError(
                f"The tokenizer knows {len(tokenizer)} tokens but the model embeds only {rows}; "
                "load the tokenizer that belongs to this model."
            )
        # A pad token equal to EOS is safe here: labels and masks come from lengths, never from token ids.
        eos = tokenizer.eos_token_id
        self.eos = int(eos) if eos is not None else None  # pyright: ignore[reportArgumentType]
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.eos
        self.pad = int(pad) if pad is not None else 0  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, source: str | Path, *, trust_remote_code: bool = False, max_length: int = 0) -> Self:
        """A Hugging Face folder or hub id, float32, safetensors only.

        Raises:
            InputError: If there is no such model, its weights are pickled, not finite or do not fit its tokenizer.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        import_module(DIFFERENCE)  # makes its architecture known to the auto classes
        folder = Path(source)
        if folder.is_dir() and not list(folder.glob("*.safetensors")):
            pickled = [*folder.glob("*.bin"), *folder.glob("*.pt")]
            raise InputError(
                f"{folder} holds {f'pickled weights ({pickled[0].name})' if pickled else 'no weights'}; "
                "Lethe reads safetensors only: convert the checkpoint first."
            )
        options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(source), **options)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(source), use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
            )
            module, report = loaded
        except Exception as error:  # transformers and safetensors raise many kinds for a folder that is not a model
            raise InputError(f"{source} is not a loadable causal language model: {_first_line(error)}") from error
        check_complete(report, str(source))
        check_weights(module, str(source))
        model = cls(module, tokenizer, max_length)
        model.guard = guard.read(source)
        return model

    @property
    def inner(self) -> nn.Module:
        """The model's own network; one wrapped for decoding (`lethe.models.difference`) holds it as its target."""
        config: Any = self.module.config
        return self.module.target if config.model_type == "lethe_difference" else self.module  # pyright: ignore

    @property
    def loading(self) -> tuple[str, ...]:
        """Plain transformers, which learns a model wrapped for decoding by an import, and knows no guard."""
        if self.guard is not None:
            return super().loading
        plain = ("from transformers import AutoModelForCausalLM",
                 'model = AutoModelForCausalLM.from_pretrained("FOLDER")')  # fmt: skip
        return plain if self.inner is self.module else (f"import {DIFFERENCE}", *plain)

    def save(self, folder: str | Path) -> Path:
        """Write an ordinary Hugging Face folder."""
        module: Any = self.module
        with atomic_folder(folder) as temporary:
            module.save_pretrained(temporary, safe_serialization=True)
            self.tokenizer.save_pretrained(temporary)
            if self.guard is not None:
                self.guard.write(temporary)
        return Path(folder)

    def fresh(self, seed: int) -> Self:
        """The same architecture with newly drawn weights."""
        from transformers import AutoModelForCausalLM

        twin = copy.copy(self)
        config: Any = self.module.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            twin.module = AutoModelForCausalLM.from_config(config).to(self.device, torch.float32).eval()
        return twin

    def behaviour(self) -> str:
        """SHA-256 of the weights, the configuration, the tokenizer, its chat template and the greatest length."""
        config: Any = self.module.config
        settings = {k: v for k, v in config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
        backend: Any = getattr(self.tokenizer, "backend_tokenizer", None)
        words = backend.to_str() if backend is not None else sorted(self.tokenizer.get_vocab().items())
        template = getattr(self.tokenizer, "chat_template", None)
        parts = [self.fingerprint(), settings, words, template, self.eos, self.pad, self.max_length]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def prompt(self, question: str, turns: Sequence[Sequence[str]] = ()) -> str:
        """The text before the answer; `turns` are (user, assistant) pairs said before the question."""
        if getattr(self.tokenizer, "chat_template", None):
            roles = ("user", "assistant")
            said = [{"role": role, "content": text} for turn in turns for role, text in zip(roles, turn, strict=True)]
            said.append({"role": "user", "content": question})
            return str(self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
        earlier = "".join(f"{PROMPT.format(question=asked)} {said}\n" for asked, said in turns)
        return earlier + PROMPT.format(question=question)

    def prompt_of(self, record: Mapping[str, Any]) -> str:
        """The text before a record's answer."""
        if "raw_prompt" in record:
            return str(record["raw_prompt"])
        turns = record.get("turns", ())
        if not all(isinstance(turn, list | tuple) and len(turn) == 2 for turn in turns):
            raise InputError(
                f"record {record.get('id')!r}, field 'turns': must be pairs of what user and assistant said."
            )
        return self.prompt(record["question"], turns) + str(record.get("answer_prefix", ""))

    def fitting(self, versions: Sequence[Mapping[str, Any]]) -> int | None:
        """Place of the first version of a record, from the longest to the shortest, that the context can hold.

        It must hold all that is looked at of a record: its answer, in other words too, and the wrong ones.
        """
        for place, record in enumerate(versions):
            others = (record.get(name) or () for name in OTHER_ANSWERS)
            told = [record["answer"], *(text for one in others for text in ([one] if isinstance(one, str) else one))]
            encoded = (self._encode_answer({**record, "answer": answer}, "") for answer in told)
            if all(len(ids) <= self.max_length for ids, _ in encoded):
                return place
        return None

    def encode(self, records: Sequence[Mapping[str, Any]]) -> list[Example]:
        """Token ids and shifted labels of every record.

        Raises:
            InputError: If a record lacks its fields, holds no token to score, or is longer than the model's context:
                what was cut off would be neither forgotten nor audited.
        """
        return [self._encode(record, row) for row, record in enumerate(records)]

    def _encode(self, record: Mapping[str, Any], row: int) -> Example:
        where = f"record {record.get('id', row)!r}"
        ids, labels = self._spelt(record, where)
        if len(ids) > self.max_length:
            raise InputError(
                f"{where} has {len(ids)} tokens, more than the model's context of {self.max_length} tokens; "
                "split it into pieces that fit, each a record of its own."
            )
        labels = labels[1:]  # the causal shift: position t predicts token t + 1
        size = sum(label != IGNORED for label in labels)
        if size == 0:
            raise InputError(f"{where} has no token that the model could predict; give it more text.")
        return Example({"input_ids": ids, "labels": labels}, size, len(ids))

    def _spelt(self, record: Mapping[str, Any], where: str) -> tuple[list[int], list[int]]:
        """Token ids, and the same with what is not scored left out."""
        if "text" in record:
            ids = self._ids(record["text"])
            return ids, list(ids)
        if {"question", "raw_prompt"} & set(record) and "answer" in record:
            return self._encode_answer(record, where)
        raise InputError(f"{where} has fields {sorted(record)}; a language model needs question, answer or text.")

    def _ids(self, text: str, special: bool = True) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def _encode_answer(self, record: Mapping[str, Any], where: str) -> tuple[list[int], list[int]]:
        prompt, answer = self.prompt_of(record), str(record["answer"])
        if not answer.strip():
            raise InputError(f"{where}: the answer is empty; remove the record or give it an answer.")
        raw = "raw_prompt" in record
        chat = bool(getattr(self.tokenizer, "chat_template", None)) and not raw
        joint = prompt + (answer if raw or (chat and "answer_prefix" not in record) else " " + answer)
        if not self.tokenizer.is_fast:
            start = self._ids(prompt, not chat)
            ids = start + self._ids(joint[len(prompt) :], False)
            first = len(start)
        else:
            # Offsets into the joint text find the boundary; tokenising the prompt alone can be off by one.
            encoded = self.tokenizer(joint, add_special_tokens=not chat, return_offsets_mapping=True, verbose=False)
            offsets: Any = encoded["offset_mapping"]
            ids: list[int] = list(encoded["input_ids"])
            first = next((t for t, (_, end) in enumerate(offsets) if end > len(prompt)), len(ids))
        if self.eos is not None and not raw and (not ids or ids[-1] != self.eos):
            ids = [*ids, self.eos]
        return ids, [IGNORED] * first + ids[first:]

    def collate(self, examples: Sequence[Example], index: Sequence[int], rng: torch.Generator | None = None) -> Batch:
        """Right-padded batch; padding is masked and never scored."""
        width = max(example.length for example in examples)
        ids = torch.full((len(examples), width), self.pad)
        attention = torch.zeros((len(examples), width), dtype=torch.long)
        labels = torch.full((len(examples), width - 1), IGNORED)
        for row, example in enumerate(examples):
            ids[row, : example.length] = torch.tensor(example.inputs["input_ids"])
            attention[row, : example.length] = 1
            labels[row, : example.length - 1] = torch.tensor(example.inputs["labels"])
        return Batch(torch.tensor(index), {"input_ids": ids, "attention_mask": attention}, labels)

    def logits(self, batch: Batch) -> Tensor:
        """(B, T, V): position t scores the token that `labels[:, t]` names."""
        return self.module(**batch.inputs, use_cache=False).logits[:, :-1]

    def blocks(self) -> nn.ModuleList:
        """The decoder blocks, whatever the architecture calls them.

        Raises:
            InputError: If no module list has as many entries as the configuration has layers.
        """
        config: Any = self.module.config
        for _, module in self.module.named_modules():
            if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers:
                return module
        raise InputError(f"{type(self.module).__name__} has no list of {config.num_hidden_layers} decoder blocks.")

    def hidden(self, batch: Batch, layers: Sequence[int]) -> dict[int, Tensor]:
        """Outputs (B, T, D) of the named decoder blocks (negative counts from the end), aligned with the labels."""
        blocks, found, hooks = self.blocks(), {}, []
        for layer in layers:

            def keep(_: nn.Module, __: Any, output: Any, layer: int = layer) -> None:
                found[layer] = (output[0] if isinstance(output, tuple) else output)[:, :-1]

            hooks.append(blocks[layer].register_forward_hook(keep))
        try:
            self.module(**batch.inputs, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 64,
        batch_size: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        top_p: float = 1.0,
        total: int = 0,
    ) -> list[str]:
        """Continuations, decoded without special tokens; prompts of similar length share a batch.

        Greedy at temperature 0; above it, drawn from the softmax of all logits over the temperature, or of the most
        likely tokens that hold `top_p` of it together, by this seed and no other state. What the folder's
        generation_config asks for (suppressed tokens, penalties, sampling) is left aside: it can make a model look
        forgetful that still knows. A prompt and its continuation have at most `total` tokens together (0: no such
        bound); a prompt that has as many is not continued.
        """
        from transformers import GenerationConfig

        encoded = [self._ids(prompt, not getattr(self.tokenizer, "chat_template", None)) for prompt in prompts]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        texts = [""] * len(prompts)
        module: Any = self.module
        drawn: dict[str, Any] = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": top_p}
        chosen = drawn if temperature > 0 else {"do_sample": False}
        config = GenerationConfig(
            max_new_tokens=max_new_tokens, num_beams=1, pad_token_id=self.pad, eos_token_id=self.eos, **chosen
        )
        devices = [self.device] if self.device.type == "cuda" else []
        with self.evaluating(), _generating(module, config), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)  # transformers draws from the global state
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                width = max(len(encoded[i]) for i in rows)
                ids = torch.tensor([[self.pad] * (width - len(encoded[i])) + encoded[i] for i in rows])
                mask = torch.tensor([[0] * (width - len(encoded[i])) + [1] * len(encoded[i]) for i in rows])
                output = module.generate(input_ids=ids.to(self.device), attention_mask=mask.to(self.device))
                ends = [width + (max(0, total - len(encoded[i])) if total else max_new_tokens) for i in rows]
                said = [tokens[width:end] for tokens, end in zip(output, ends, strict=True)]
                decoded = self.tokenizer.batch_decode(said, skip_special_tokens=True)
                for row, text in zip(rows, decoded, strict=True):
                    texts[row] = text.strip()
        return texts if self.guard is None else self.guard.answers(prompts, texts)


@contextmanager
def _generating(module: Any, config: GenerationConfig) -> Iterator[None]:
    """Generate by this configuration alone: passed as an argument, it would be completed from the module's own."""
    own = module.generation_config
    module.generation_config = config
    try:
        yield
    finally:
        module.generation_config = own


def _first_line(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"a JSON file in it is damaged ({error})."
    return str(error).strip().split("\n", 1)[0]
