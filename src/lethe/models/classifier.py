"""Image and tabular classifiers: Lethe's small networks, any `AutoModelForImageClassification` folder, or timm's."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from lethe.data.atomic import folder as atomic_folder
from lethe.errors import InputError
from lethe.models import nets, preprocessing, timm_folder
from lethe.models.base import Batch, Example, Model, check_complete, check_weights
from lethe.models.preprocessing import Preprocessing

MULTI_LABEL = "multi_label_classification"  # what a transformers configuration calls it


class Classifier(Model):
    """A classifier over images (C, H, W) in [0, 1] or feature vectors (D,).

    Records are `{"image" | "features", "label"}`: one scored token out of `classes`. A multi-label classifier, whose A
    outputs are decisions of their own, takes `{"image" | "features", "labels": [0 or 1, ...]}`: A scored tokens out of
    two, so that the loss is the sum of A binary cross-entropies, and every mean over tokens one over attributes. Its
    folder says so: `problem_type` in transformers' configuration, or the argument `multi_label` of Lethe's networks.

    Size, mean and deviation of a folder's preprocessor_config.json are applied here, once: records hold [0, 1].
    """

    family: ClassVar[str] = "classifier"
    abilities: frozenset[str] = frozenset({"loss", "nll", "logits", "features"})
    record_fields: ClassVar[tuple[str, ...]] = ("image", "label")

    def __init__(self, module: nn.Module, prepare: Preprocessing | None = None) -> None:
        super().__init__(module)
        told: Any = getattr(module, "config", None)
        arguments: Any = getattr(module, "arguments", {})
        self.multi_label: bool = getattr(told, "problem_type", None) == MULTI_LABEL or "multi_label" in arguments
        self.prepare = prepare or Preprocessing()

    @classmethod
    def load(cls, source: str | Path, *, trust_remote_code: bool = False) -> Self:
        """A folder that `save`, transformers or timm wrote; timm's own code is needed for rare architectures alone.

        Raises:
            InputError: If the folder is no image classifier, or its weights are pickled or not finite.
        """
        told = timm_folder.configuration(source)
        prepare = timm_folder.preparation(source, told) if told else preprocessing.read(source)
        if told and (timm_folder.supported(told) or importlib.util.find_spec("timm") is None):
            module = timm_folder.load(source, told)
        elif nets.is_net(source):
            module = nets.load(source)
        else:
            from transformers import AutoModelForImageClassification

            try:
                module, report = AutoModelForImageClassification.from_pretrained(
                    str(source), use_safetensors=True, trust_remote_code=trust_remote_code, output_loading_info=True
                )
            except (OSError, ValueError) as error:
                why = str(error).splitlines()[0]
                raise InputError(f"{source} is not a loadable image classifier: {why}") from error
            check_complete(report, str(source))
        check_weights(module, str(source))
        return cls(module.eval(), prepare)

    def save(self, folder: str | Path) -> Path:
        """Write the folder, whole or not at all."""
        with atomic_folder(folder) as temporary:
            nets.save(self.module, temporary)
            if self.prepare != Preprocessing():
                self.prepare.write(temporary)
        return Path(folder)

    def behaviour(self) -> str:
        """SHA-256 of the weights and of what happens to an image before them."""
        if self.prepare == Preprocessing():
            return self.fingerprint()
        return hashlib.sha256(f"{self.fingerprint()}{self.prepare}".encode()).hexdigest()

    def fresh(self, seed: int) -> Self:
        """The same architecture with newly drawn weights."""
        twin = self.copy()
        nets.reset(twin.module, seed)
        return twin

    def encode(self, records: Sequence[Mapping[str, Any]]) -> list[Example]:
        """Inputs as float32 tensors, images at the network's size.

        Raises:
            InputError: If a record has neither image nor features, or no label; if the network reads another shape or
                number of channels, or has no such class.
        """
        outputs, reads = self._outputs(), self._reads()
        wanted = "labels" if self.multi_label else "label"
        examples = []
        for row, record in enumerate(records):
            who = f"record {record.get('id', row)!r}"
            value = record.get("image", record.get("features"))
            if value is None or wanted not in record:
                kind = "multi-label classifier" if self.multi_label else "classifier"
                raise InputError(f"{who} has fields {sorted(record)}; a {kind} needs {wanted} and image or features.")
            x = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
            x = self.prepare.sized(x) if x.dim() == 3 else x
            _check_shape(tuple(x.shape), reads, who)
            labels = (_decisions if self.multi_label else _class)(record[wanted], outputs, who)
            examples.append(Example({"x": x, "labels": labels}, size=len(labels)))
        return examples

    def collate(self, examples: Sequence[Example], index: Sequence[int], rng: torch.Generator | None = None) -> Batch:
        """Stacked inputs (B, ...) and labels (B, 1), or (B, A) of a multi-label classifier."""
        labels = torch.tensor([example.inputs["labels"] for example in examples])
        return Batch(torch.tensor(index), {"x": torch.stack([e.inputs["x"] for e in examples])}, labels)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 1, classes); of a multi-label classifier (B, A, 2): 0 for no, the network's output for yes."""
        output: Any = self._forward(batch)
        scores = getattr(output, "logits", output)
        return torch.stack([torch.zeros_like(scores), scores], -1) if self.multi_label else scores[:, None]

    def features(self, batch: Batch) -> Tensor:
        """What the last linear layer reads, (B, D); of an ensemble what those of its constituents read, in a row."""
        seen: list[Tensor] = []
        parts: Any = getattr(self.module, "constituents", [self.module])
        heads = [_linear(part)[-1] for part in parts]
        hooks = [head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for head in heads]
        try:
            self._forward(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat(seen, -1)

    def _forward(self, batch: Batch) -> Any:
        x = batch.inputs["x"]
        return self.module(self.prepare.normal(x) if x.dim() == 4 else x)

    def _outputs(self) -> int | None:
        """Number of classes or attributes; None where no linear layer tells."""
        linear = _linear(self.module)
        return linear[-1].out_features if linear else None

    def _reads(self) -> tuple[int, ...] | None:
        """The shape of an input, 0 where any will do; None where the network does not tell."""
        told: Any = getattr(self.module, "config", None)
        arguments: Any = getattr(self.module, "arguments", {})
        size = getattr(told, "image_size", None) or arguments.get("size") or self.prepare.size or 0
        sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
        first = next((m for m in self.module.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.Embedding))), None)
        if isinstance(first, nn.Conv2d):
            return (first.in_channels, *sides)
        return (first.in_features,) if isinstance(first, nn.Linear) else None


def _linear(module: nn.Module) -> list[nn.Linear]:
    """The network's own; those of an adapter on top of them read less than the layers they stand beside."""
    layers = module.named_modules()
    return [layer for name, layer in layers if isinstance(layer, nn.Linear) and "lora_" not in name]


def _class(value: Any, classes: int | None, who: str) -> list[int]:
    if classes is not None and not 0 <= int(value) < classes:
        raise InputError(
            f"{who}: the label {value} is none of the model's {classes} classes, 0 to {classes - 1}; take a model of "
            "these labels, or number them as it does."
        )
    return [int(value)]


def _decisions(values: Any, attributes: int | None, who: str) -> list[int]:
    if len(values) != attributes or any(value not in (0, 1) for value in values):
        raise InputError(f"{who}: the labels are {list(values)}; the model decides on {attributes}, each 0 or 1.")
    return [int(value) for value in values]


def _check_shape(shape: tuple[int, ...], reads: tuple[int, ...] | None, who: str) -> None:
    """A convolution reads channels, and at times a size; a linear layer so many numbers, in whatever shape."""
    if reads is None or (len(reads) == 1 and math.prod(shape) == reads[0]):
        return
    if len(shape) == len(reads) and all(wanted in (0, side) for side, wanted in zip(shape, reads, strict=True)):
        return
    has, wanted = (" x ".join(str(side) if side else "any" for side in sides) for sides in (shape, reads))
    advice = "check that data and model belong together"
    if len(shape) == len(reads) == 3:
        same = shape[0] == reads[0]
        advice = f"load the images with size={reads[-1]}" if same else "convert the images to as many channels"
    raise InputError(f"{who} is {has}, and the model reads {wanted}; {advice}.")
