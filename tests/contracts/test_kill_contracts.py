"""Every method that keeps checkpoints resumes after a SIGKILL to the bytes of a run that nothing disturbed."""

import json
import subprocess
import sys
from pathlib import Path

from tests.contracts.killed_methods import training


def test_killed_methods_end_in_the_same_bits(tmp_path: Path):
    command = [sys.executable, "-m", "tests.contracts.killed_methods", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    carried_out = {name: outcome for name, outcome in found.items() if "refused" not in outcome}
    assert len(carried_out) >= 25
    # What does not compose is refused; what trains on its own, whatever calls its length, is never.
    assert {"merging all", "needle all", "task_vector all", "whp_decoding all", "uld all"} <= set(carried_out)
    assert {name.split()[0] for name in found} == {card.name for card in training()}
    assert {name.split()[1] for name in carried_out} == {"all", "lora", "masked", "averaged"}
    assert not [name for name, outcome in carried_out.items() if not outcome["equal"]]
    killed = [name for name, outcome in carried_out.items() if outcome["killed"]]
    assert len(killed) > 0.9 * len(carried_out)  # a run may be over before it can be killed
