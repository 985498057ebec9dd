"""Rules at a model's output: what is withheld there is still in the weights."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from lethe.data.atomic import write_json
from lethe.errors import InputError, cause

FILE = "lethe_guard.json"
HIDDEN = -1e4  # as good as minus infinity to a softmax, but finite, so that every measure of it is


@dataclass(frozen=True)
class Guard:
    """What is answered with a refusal, and what is never recommended.

    Args:
        refusal: The answer to a guarded prompt.
        names: A prompt that holds all words of one of them, in lower case, is guarded.
        questions: A prompt that contains one of them, whatever the case, is guarded.
        pairs: (user, item) that no ranking shows.
    """

    refusal: str = ""
    names: tuple[tuple[str, ...], ...] = ()
    questions: tuple[str, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()

    def refuses(self, prompt: str) -> bool:
        """Whether a prompt is guarded."""
        lowered = prompt.lower()
        said = set(words(prompt))
        return any(said.issuperset(name) for name in self.names) or any(q.lower() in lowered for q in self.questions)

    def answers(self, prompts: Sequence[str], texts: Sequence[str]) -> list[str]:
        """The texts, with refusals for the guarded prompts."""
        return [self.refusal if self.refuses(p) else text for p, text in zip(prompts, texts, strict=True)]

    def ranking(self, users: Tensor, scores: Tensor) -> Tensor:
        """The scores (B, I) of users (B,), with the guarded pairs out of reach."""
        shown = scores.clone()
        for row, user in enumerate(users.tolist()):
            shown[row, [item for one, item in self.pairs if one == user]] = HIDDEN
        return shown

    def write(self, folder: Path) -> None:
        """Leave the rules in a model's folder, where `read` finds them."""
        write_json(folder / FILE, asdict(self))


def read(folder: str | Path) -> Guard | None:
    """The rules in a model's folder, None where there are none.

    Raises:
        InputError: If the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Guard(
            refusal=str(data["refusal"]),
            names=tuple(tuple(map(str, name)) for name in data["names"]),
            questions=tuple(map(str, data["questions"])),
            pairs=tuple((int(user), int(item)) for user, item in data["pairs"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({cause(error)}); without it the model would answer what it must not."
        ) from error


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"\w+", text.lower())
