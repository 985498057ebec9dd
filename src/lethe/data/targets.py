"""Records about targets, people named in the field `subject`: RWKU's configs, or the released codes' folder per target.

Both RWKU (arXiv 2406.10890) and ORT (arXiv 2506.07795) evaluate from folders `1_First_Last` of JSON arrays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lethe.data import probes
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.registry import did_you_mean

HUB = "jinzhuoran/RWKU"
_TRAIN = ("forget_target", "train_")  # configs whose split on the hub is "train"; that of all others is "test"
_FOLDER = re.compile(r"(\d+)_(.+)")
_SUITES = {
    "general": probes.general, "reason": probes.reason, "truthfulness": probes.truthfulness,
    "factuality": probes.factuality, "fluency": probes.fluency,
}  # fmt: skip
_PRIMED = ("truthfulness", "factuality")


@dataclass(frozen=True)
class Targets:
    """Where records about targets come from.

    Args:
        who: The benchmark, for messages.
        source: tiny, hub, or a folder: with the configs as files, or with a folder per target.
        seed: Seed of the embedded world.
    """

    who: str
    source: str
    seed: int = 0

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The folder of every target, in the order of their numbers; none where the configs are files.

        Raises:
            InputError: If the source is a path and no folder.
        """
        if self.source in ("tiny", "hub"):
            return {}
        if not Path(self.source).is_dir():
            raise InputError(
                f"{self.who}: {self.source} is not a folder; give tiny, hub, or the folder with the official files."
            )
        found = [(match, path) for path in Path(self.source).iterdir() if (match := _FOLDER.fullmatch(path.name))]
        found = sorted((int(match[1]), match[2].replace("_", " "), path) for match, path in found if path.is_dir())
        return {name: path for _, name, path in found}

    @cached_property
    def people(self) -> dict[str, str]:
        """Names of all targets with their introductions ("" where the source has none)."""
        if self.folders and not self.has("forget_target"):
            return dict.fromkeys(self.folders, "")
        return {str(row["subject"]): str(row["text"]) for row in self.read("forget_target")}

    def choose(self, count: int, first: str = "") -> list[str]:
        """So many targets from the one named on, or from the first.

        Raises:
            InputError: If there is no such target, or there are too few behind it.
        """
        known = list(self.people)
        if first and first not in known:
            raise InputError(f"{self.who}: there is no target {first!r}{did_you_mean(first, known)}.")
        start = known.index(first) if first else 0
        if start + count > len(known):
            raise InputError(
                f"{self.who}: {len(known) - start} targets from {known[start]!r} on are fewer than {count}; choose a "
                "smaller split."
            )
        return known[start : start + count]

    def has(self, config: str) -> bool:
        """Whether there is such a config; RWKU's on the hub are all but ORT's multiple choice."""
        if self.source in ("tiny", "hub"):
            return self.source == "tiny" or not config.endswith("_mcp")
        name = probes.FILES.get(config, config) if self.folders else config
        folder = next(iter(self.folders.values()), Path(self.source))
        return (folder / name).is_dir() or any(path.stem.split("-")[0] == name for path in folder.iterdir())

    def read(self, config: str, about: Collection[str] = ()) -> list[dict[str, Any]]:
        """The rows of a config; with `about`, without those about targets other than these.

        Raises:
            InputError: As `load_records`.
        """
        fields = probes.FIELDS.get(config)
        if self.folders:
            file = probes.FILES.get(config, config)
            wanted = {name: path for name, path in self.folders.items() if not about or name in about}
            return [
                {"subject": name, **row, "id": f"{path.name}/{row['id']}"}
                for name, path in wanted.items()
                for row in load_records(path, config=file, fields=fields)
            ]
        if self.source == "tiny":
            rows = load_records(f"tiny:fame:{config}", fields=fields, seed=self.seed)
        elif self.source == "hub":
            split = "train" if config.startswith(_TRAIN) else "test"
            rows = load_records(HUB, config=config, split=split, fields=fields)
        else:
            rows = load_records(self.source, config=config, fields=fields)
        others = set(self.people) - set(about) if about else set()
        return [row for row in rows if row.get("subject") not in others]

    def texts(self, config: str, about: Collection[str] = ()) -> list[dict[str, Any]]:
        """The rows of a config of texts as records."""
        return [_text(row) for row in self.read(config, about)]

    def passages(self, about: Collection[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The encyclopaedia's texts about these targets, and those about everybody else."""
        found = self.texts("train_original_passage")
        own = [record for record in found if record["subject"] in about]
        return own, [record for record in found if record["subject"] not in about]

    def suites(self, names: Sequence[str], about: Collection[str], instruction: str) -> dict[str, list[dict[str, Any]]]:
        """The utility sets of these names that there are, as they are asked; the tiny model is spared the primers."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name in names:
            config = f"utility_{name}"
            if not self.has(config):
                continue
            options = {"primer": self.source != "tiny"} if name in _PRIMED else {}
            records = [_SUITES[name](row, instruction, **options) for row in self.read(config, about)]
            found[config] = probes.alike(records) if records and "choices" in records[0] else records
        return found


def _text(row: Mapping[str, Any]) -> dict[str, Any]:
    subject = str(row.get("subject", ""))
    return {"id": row["id"], "subject": subject, "entity": subject, "text": row["text"]}
