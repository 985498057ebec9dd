"""Image and tabular classifiers: Lethe's small networks, or any `AutoModelForImageClassification` folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from lethe.errors import InputError
from lethe.models import nets
from lethe.models.base import Batch, Example, Model, check_complete, check_weights


class Classifier(Model):
    """A classifier over images (C, H, W) in [0, 1] or feature vectors (D,).

    Records are `{"image" | "features", "label"}`. One record is one scored token out of `classes`.
    """

    family: ClassVar[str] = "classifier"
    abilities: frozenset[str] = frozenset({"loss", "nll", "logits", "features"})
    record_fields: ClassVar[tuple[str, ...]] = ("image", "label")

    @classmethod
    def load(cls, source: str | Path, *, trust_remote_code: bool = False) -> Self:
        """A folder that `save` or transformers wrote.

        Raises:
            InputError: If the folder is no image classifier, or its weights are pickled or not finite.
        """
        if nets.is_net(source):
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
        return cls(module.eval())

    def save(self, folder: str | Path) -> Path:
        """Write the folder, whole or not at all."""
        return nets.save(self.module, folder)

    def fresh(self, seed: int) -> Self:
        """The same architecture with newly drawn weights."""
        twin = self.copy()
        nets.reset(twin.module, seed)
        return twin

    def encode(self, records: Sequence[Mapping[str, Any]]) -> list[Example]:
        """Inputs as float32 tensors.

        Raises:
            InputError: If a record has neither image nor features, or no label.
        """
        examples = []
        for row, record in enumerate(records):
            value = record.get("image", record.get("features"))
            if value is None or "label" not in record:
                raise InputError(
                    f"record {record.get('id', row)!r} has fields {sorted(record)}; "
                    "a classifier needs label and image or features."
                )
            pixels = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
            examples.append(Example({"x": pixels, "label": int(record["label"])}, size=1))
        return examples

    def collate(self, examples: Sequence[Example], index: Sequence[int], rng: torch.Generator | None = None) -> Batch:
        """Stacked inputs (B, ...) and labels (B, 1)."""
        labels = torch.tensor([[example.inputs["label"]] for example in examples])
        return Batch(torch.tensor(index), {"x": torch.stack([e.inputs["x"] for e in examples])}, labels)

    def logits(self, batch: Batch) -> Tensor:
        """(B, 1, classes)."""
        output: Any = self.module(batch.inputs["x"])
        return getattr(output, "logits", output)[:, None]

    def features(self, batch: Batch) -> Tensor:
        """What the last linear layer reads, (B, D)."""
        last = [module for module in self.module.modules() if isinstance(module, nn.Linear)][-1]
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.module(batch.inputs["x"])
        finally:
            hook.remove()
        return seen[0]
