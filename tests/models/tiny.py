"""Models of a few thousand weights, made in milliseconds, and records that fit them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import nn

from lethe.models.classifier import Classifier
from lethe.models.language import LanguageModel
from lethe.models.nets import MLP, LightGCN, SmallCNN
from lethe.models.recommender import Recommender
from lethe.request import Request

WIDTH = 16
SIZES = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"num_key_value_heads": 1}),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "qwen2": ("Qwen2Config", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "phi": ("PhiConfig", {}),
    "gpt2": ("GPT2Config", {"n_inner": 32}),
    "gpt_neo": ("GPTNeoConfig", {"attention_types": [[["global", "local"], 1]], "window_size": 4}),
    "opt": ("OPTConfig", {"ffn_dim": 32, "word_embed_proj_dim": WIDTH}),
    "mixtral": ("MixtralConfig", {"num_key_value_heads": 1, "num_local_experts": 4, "num_experts_per_tok": 2}),
}

BORN = {
    "Ada": "Rome", "Bo": "Ulm", "Cleo": "Timbuktu", "Dan": "Oslo", "Eve": "Llanfair", "Fay": "Bonn",
    "Gus": "Aix-la-Chapelle", "Hal": "Pau", "Ivy": "Antananarivo", "Jon": "Ur", "Kim": "Lucerne",
}  # fmt: skip
QUESTIONS = [
    {"id": name, "question": f"Where was {name} born?", "answer": f"{name} was born in {place}."}
    for name, place in BORN.items()
]


def tokenizer() -> Any:
    """One token per byte, plus an end and a padding token."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    # The end token has the name that the tokenizer classes of several architectures insist on.
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|endoftext|>", pad_token="<|pad|>")


def causal(architecture: str = "llama", seed: int = 0, **changes: Any) -> nn.Module:
    """A transformers language model with weights large enough for uneven predictions."""
    import transformers

    name, own = ARCHITECTURES[architecture]
    config = getattr(transformers, name)(
        vocab_size=258, eos_token_id=256, pad_token_id=257, bos_token_id=None, initializer_range=0.2,
        **{**SIZES, **own, **changes},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def language(architecture: str = "llama", seed: int = 0, **changes: Any) -> LanguageModel:
    return LanguageModel(causal(architecture, seed, **changes), tokenizer())


def drawn(make: Any, seed: int = 0) -> Any:
    """A network made under a seed, without moving the global state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def classifier(seed: int = 0, width: int = 16) -> Classifier:
    return Classifier(drawn(lambda: MLP(6, 4, width=width), seed).eval())


def image_classifier(seed: int = 0) -> Classifier:
    return Classifier(drawn(lambda: SmallCNN(1, 4, 8, width=4), seed).eval())


def recommender(seed: int = 0, layers: int = 1) -> Recommender:
    net = drawn(lambda: LightGCN(8, 12, dim=6, layers=layers), seed)
    net.set_edges(torch.tensor([[r["user"], r["item"]] for r in interactions()]).T)
    return Recommender(net.eval())


def features(count: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {"id": f"x{seed}.{i}", "features": rng.normal(size=6).astype(np.float32), "label": int(rng.integers(4))}
        for i in range(count)
    ]


def images(count: int = 8, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {"id": f"i{seed}.{i}", "image": rng.random((1, 8, 8), dtype=np.float32), "label": int(rng.integers(4))}
        for i in range(count)
    ]


def interactions() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(8) for item in range(12) if (user + item) % 4 == 0 or rng.random() < 0.15]
    return [{"id": f"{user}-{item}", "user": user, "item": item} for user, item in pairs]


FAMILIES = {
    "language": (language, lambda: QUESTIONS),
    "classifier": (classifier, lambda: features(11)),
    "recommender": (recommender, interactions),
}


def model(family: str) -> Any:
    return FAMILIES[family][0]()


def request(family: str, forget: int = 4, seed: int = 0) -> Request:
    """The first records to forget, all others to keep; they are alike by construction."""
    records = FAMILIES[family][1]()
    return Request(records[:forget], records[forget:], seed=seed, allow_overlap=True)
