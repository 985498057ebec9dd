"""A language model that answers by its own logits and those of assistants: forgetting at the output alone.

The target's weights are whole and unchanged, so everything that it knew is still there: suppression, not removal. One
architecture serves ULD (arXiv 2406.08607), Offset Unlearning (arXiv 2404.11045) and Who's Harry Potter's formula
applied while decoding (arXiv 2310.02238). It is saved as an ordinary safetensors folder of model type
`lethe_difference`; importing this module is all that transformers' auto classes need to load one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GenerationMixin, PreTrainedModel
from transformers import PreTrainedConfig as Config
from transformers.modeling_outputs import CausalLMOutputWithPast

from lethe.errors import InputError

MODEL_TYPE = "lethe_difference"
HIDDEN = -1000.0  # the logit of a token that decoding may not choose: a probability of 0 in every float type
SHARED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings",
          "bos_token_id", "eos_token_id", "pad_token_id")  # fmt: skip
PER_BLOCK = ("layer_types", "mlp_layer_types", "attention_layers")  # settings that are lists, one entry per block


class DifferenceConfig(Config):
    """What the parts are and how their logits are put together.

    Args:
        parts: Configurations as dictionaries: the target's, then one per assistant.
        rule: "add" (target + sum of weight * assistant) or "relu" (target - weight * ReLU(assistant - target)).
        weights: One number per assistant.
        top: Relative-top filter: only tokens with at least this share of the target's largest probability are touched
            by the assistants; 0 touches all.
        floor: Keep at least int(top * V) tokens in the filter, as ULD's released code does (inert for V < 1 / top).
        filtered: What becomes of the others: "kept" (the target's logit), "hidden" (never chosen), or "released" (kept
            where logits are read, hidden in generation).
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        parts: Sequence[dict[str, Any]] = (),
        rule: str = "add",
        weights: Sequence[float] = (),
        top: float = 0.0,
        floor: bool = False,
        filtered: str = "released",
        **others: Any,
    ) -> None:
        # Read off the configuration, not the dictionary, in which GPT-2 and others have names of their own for them.
        first = _config(parts[0]) if parts else None
        super().__init__(**{name: getattr(first, name) for name in SHARED if hasattr(first, name)} | others)
        self.tie_word_embeddings = False  # of the whole; each part ties its own
        self.parts = [dict(part) for part in parts]
        self.rule, self.weights = rule, [float(weight) for weight in weights]
        self.top, self.floor, self.filtered = float(top), bool(floor), filtered


class DifferenceModel(PreTrainedModel, GenerationMixin):
    """A causal language model made of a target and its assistants, each with a key-value cache of its own."""

    config_class = DifferenceConfig
    base_model_prefix = "target"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: DifferenceConfig, parts: Sequence[nn.Module] = ()) -> None:
        super().__init__(config)
        made: list[Any] = list(parts) or [AutoModelForCausalLM.from_config(_config(part)) for part in config.parts]
        self.target: Any = made[0]
        for number, assistant in enumerate(made[1:]):  # as children, not in a list: only so are their weights tied
            self.add_module(f"assistant{number}", assistant)
        self.post_init()

    @property
    def parts(self) -> list[Any]:
        """The target, then the assistants."""
        return [self.target, *(getattr(self, f"assistant{number}") for number in range(len(self.config.weights)))]

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the parts have drawn their own."""

    def get_input_embeddings(self) -> nn.Module:
        """The target's."""
        return self.target.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """The target's."""
        return self.target.get_output_embeddings()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        decoding: bool = False,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, T, V), float32; `decoding` says that a token will be chosen by them."""
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        caches = _views(past_key_values, self.parts) if past_key_values is not None else [None] * len(self.parts)
        shared: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": use_cache}
        if position_ids is not None:
            shared["position_ids"] = position_ids
        target, *others = [
            part(**shared, past_key_values=cache, logits_to_keep=logits_to_keep).logits.float()
            for part, cache in zip(self.parts, caches, strict=True)
        ]
        kept = relative_top(target, self.config.top, self.config.floor)
        changed = combined(target, others, self.config.weights, self.config.rule, kept)
        if self.config.filtered == "hidden" or (decoding and self.config.filtered == "released"):
            changed = changed.masked_fill(~kept, HIDDEN)
        return CausalLMOutputWithPast(logits=changed, past_key_values=past_key_values)

    def prepare_inputs_for_generation(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_ids: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """The usual inputs, marked as those of a decoding step."""
        usual = super().prepare_inputs_for_generation(input_ids, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        return {**usual, "decoding": True}


def wrap(target: nn.Module, assistants: Sequence[nn.Module], **settings: Any) -> DifferenceModel:
    """A difference model of these modules (which are not copied); settings as in `DifferenceConfig`.

    Raises:
        InputError: If the target is one already, the filter's share is out of range, or a weight is not finite.
    """
    if isinstance(target, DifferenceModel):
        raise InputError("This model is wrapped for decoding already; give the model that it was made from.")
    if not 0 <= settings.get("top", 0.0) < 1:
        raise InputError(f"The filter's share is {settings['top']}; it must be at least 0 and below 1.")
    if odd := [weight for weight in settings.get("weights", ()) if not math.isfinite(weight)]:
        raise InputError(f"An assistant's weight is {odd[0]}; it must be a finite number.")
    made: list[Any] = [target, *assistants]
    config = DifferenceConfig(parts=[part.config.to_dict() for part in made], **settings)
    return DifferenceModel(config, made).eval()


def combined(target: Tensor, assistants: Sequence[Tensor], weights: Sequence[float], rule: str, kept: Tensor) -> Tensor:
    """The logits (..., V) of the whole; tokens outside `kept` have the target's own.

    The assistants' part is zeroed before it is added, so that a filtered token keeps the target's logit.
    """
    if rule == "relu":
        parts = [-weight * (one - target).relu() for weight, one in zip(weights, assistants, strict=True)]
    else:
        parts = [weight * one for weight, one in zip(weights, assistants, strict=True)]
    return target + torch.stack(parts).sum(0).masked_fill(~kept, 0)


def relative_top(logits: Tensor, top: float, floor: bool = False) -> Tensor:
    """Which tokens have at least `top` times the largest probability: (..., V) bool; all at top = 0.

    With `floor` the int(top * V) likeliest stay in any case. For V < 1 / top that count is 0, and the released code
    then reads the smallest probability as the threshold: nothing is filtered.
    """
    if top <= 0:
        return torch.ones_like(logits, dtype=torch.bool)
    threshold = logits.amax(-1, keepdim=True) + torch.log(torch.tensor(top))
    if floor:
        count = int(top * logits.shape[-1]) or logits.shape[-1]
        threshold = torch.minimum(threshold, logits.topk(count, -1).values[..., -1:])
    return logits >= threshold


def first_blocks(target: nn.Module, count: int) -> nn.Module:
    """A copy of a model's embedding, first blocks, final norm and head, as a model of its own.

    Raises:
        InputError: If the target has no such number of blocks, cannot be cut, or is wrapped for decoding already.
    """
    whole: Any = target
    if isinstance(target, DifferenceModel):
        raise InputError("This model is wrapped for decoding already; give the model that it was made from.")
    depth = whole.config.num_hidden_layers
    if not 1 <= count <= depth:
        raise InputError(f"The first {count} blocks are asked for; the model has {depth}.")
    settings = whole.config.to_dict()
    settings[whole.config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = count
    settings |= {name: list(settings[name])[:count] for name in PER_BLOCK if settings.get(name)}
    if whole.config.model_type == "gpt_neo":  # its list is made of this one, which counts repetitions
        settings["attention_types"] = [[whole.config.attention_layers[:count], 1]]
    weights = whole.state_dict()
    try:
        with torch.random.fork_rng(devices=[]):
            small: Any = AutoModelForCausalLM.from_config(_config(settings))
        small.load_state_dict({name: weights[name] for name in small.state_dict()})
    except (ValueError, KeyError, RuntimeError) as error:  # settings that do not fit, names or shapes that do not
        told = " ".join(str(error).split())
        raise InputError(
            f"{type(target).__name__} cannot be cut to its first {count} blocks ({told}); take all {depth}."
        ) from error
    return small.to(whole.device, whole.dtype).eval()


def _config(settings: dict[str, Any]) -> Any:
    return AutoConfig.for_model(**settings)


def _views(cache: Any, parts: Sequence[Any]) -> list[Any]:
    """One cache per part, over layers that all lie in `cache`: beams reorder them and crops cut them together.

    Two models in one cache would read each other's keys and values.
    """
    if cache.get_seq_length() == 0:
        cache.layers = [layer for part in parts for layer in DynamicCache(config=part.config).layers]
    views, start = [], 0
    for part in parts:
        view = DynamicCache()
        view.layers = cache.layers[start : (start := start + part.config.num_hidden_layers)]
        views.append(view)
    return views


AutoConfig.register(MODEL_TYPE, DifferenceConfig, exist_ok=True)
AutoModelForCausalLM.register(DifferenceConfig, DifferenceModel, exist_ok=True)
