from pathlib import Path

import pytest

from lethe.data import schema
from lethe.data.load import load_records
from lethe.data.schema import KINDS, SCHEMAS, Alias, Schema, schema_of
from lethe.errors import InputError


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_speak_only_of_fields_they_define(name: str) -> None:
    entry = schema_of(name)
    assert entry.family == name
    assert set(entry.fields.values()) <= set(KINDS)
    assert {field for form in entry.forms for field in form} <= set(entry.fields)
    assert {alias.name for alias in entry.aliases.values()} <= set(entry.fields)
    assert not set(entry.aliases) & set(entry.fields)  # a name is either Lethe's or somebody else's


def test_a_family_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = Schema("graph", {"source": "index", "target": "index"}, (("source", "target"),), {"src": Alias("source")})
    monkeypatch.setitem(schema.SCHEMAS, "graph", graphs)
    (tmp_path / "edges.csv").write_text("src,target\n1,2\n")
    (edge,) = load_records(tmp_path / "edges.csv", family="graph")
    assert (edge["source"], edge["target"]) == (1, 2)
    (tmp_path / "edges.csv").write_text("src,tagret\n1,2\n")
    with pytest.raises(InputError, match=r"row 1: has no field 'target'; is 'tagret' meant\?"):
        load_records(tmp_path / "edges.csv", family="graph")
