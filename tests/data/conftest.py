import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def official() -> Path:
    """Folder of real data sets, which the repository does not hold."""
    place = os.environ.get("LETHE_TEST_DATA")
    if not place:
        pytest.skip("LETHE_TEST_DATA does not name a folder of real data sets")
    return Path(place)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write a file by name; what is not text or bytes is written as JSON (lines)."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8", newline="")
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
        else:
            path.write_text(json.dumps(content))
        return path

    return write
