"""The rules that keep the package small and safe, held by reading its source: budgets, import order, safe loading."""

import ast
import importlib.util
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import lethe

PACKAGE = Path(lethe.__file__).parent
ROOT = PACKAGE.parent.parent

LINES = {"methods": 150, "metrics": 150, "attacks": 150, "benchmarks": 250, "headlines": 150}  # per file; elsewhere 400
FOLDER_DEPTH = 2
VAGUE = {"utils", "util", "helpers", "helper", "managers", "manager", "common", "misc"}
ABSENT = {"torchvision", "timm", "open_clip"}  # their wheels do not load beside a CPU build of torch
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

# A file or folder may import its own row and the rows above it. What is in no row is refused: say where it belongs.
ORDER = [
    {"errors", "findings"},
    {"registry"},
    {"losses", "scoring", "score", "data", "request"},
    {"models"},
    {
        "train",
        "gradients",
        "recipe",
        "checkpoint",
        "distributed",
        "tracking",
        "traces",
        "looking",
        "interior",
        "evidence",
        "preparation",
        "task",
    },
    {"descent", "measure", "task", "findings", "budget", "certified", "tabular"},
    {"methods", "metrics", "attacks"},
    {"benchmarks", "worlds", "headlines", "detection"},
    {"auditing"},
    {"runs"},
    {"report"},
    {"api"},
    {"studies"},
    {"signing", "harness"},
    {"cli", "__init__", "__main__"},
]
ROW = {part: row for row, parts in enumerate(ORDER) for part in parts}


@cache
def sources() -> dict[Path, ast.Module]:
    """Every module of the package by its path below it."""
    return {
        path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def part_of(path: Path) -> str:
    """The file or folder directly below the package that holds a module."""
    return path.parts[0].removesuffix(".py")


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`, which never run."""
    yield node
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children = node.orelse
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from running(child)


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, inside functions too; `from a import b` yields a.b."""
    for node in running(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = ["lethe", *path.parent.parts]
            origin = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            stem = ".".join(filter(None, (origin, node.module)))
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def own_imports() -> Iterator[tuple[str, str, str]]:
    """(importing part, imported part, place) for imports from the package itself, across its parts."""
    for path, tree in sources().items():
        for line, name in imports(path, tree):
            first, _, rest = name.partition(".")
            part = rest.partition(".")[0]
            is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
            if first == "lethe" and part and is_part and part != part_of(path):
                yield part_of(path), part, f"{path}:{line}"


def calls() -> Iterator[tuple[str, str, dict[str, ast.expr]]]:
    """(dotted name called, place, keywords) of every call in the package."""
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
                yield ast.unparse(node.func), f"{path}:{node.lineno}", keywords


def is_constant(node: ast.expr | None, value: bool | str) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def test_line_budgets():
    lengths = {path: len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) for path in sources()}
    budgets = {path: LINES.get(part_of(path), 400) for path in sources()}
    assert not [
        f"{path}: {length} lines of {budgets[path]}" for path, length in lengths.items() if length > budgets[path]
    ]


def test_folders_are_shallow_and_modules_have_meaning():
    assert not [str(path) for path in sources() if len(path.parts) - 1 > FOLDER_DEPTH]
    assert not [str(path) for path in sources() if path.stem in VAGUE]


def test_imports_point_one_way():
    unplaced = {part_of(path) for path in sources()} - set(ROW)
    assert not unplaced, f"give {sorted(unplaced)} a row in ORDER"
    wrong = [
        f"{place}: {importer} imports {part}, which stands above it"
        for importer, part, place in own_imports()
        if ROW[part] > ROW[importer]
    ]
    assert not wrong


def test_parts_do_not_import_each_other_in_a_circle():
    graph = TopologicalSorter[str]()
    for importer, part, _ in own_imports():
        graph.add(importer, part)
    graph.prepare()  # raises CycleError, which names the circle


def test_no_method_imports_another():
    """What methods share stands a row above, so that any one of them can be read, copied or deleted alone."""
    wrong = [
        f"{path}:{line} imports {name}"
        for path, tree in sources().items()
        if part_of(path) == "methods" and path.stem != "__init__"
        for line, name in imports(path, tree)
        if name.startswith("lethe.methods.")
    ]
    assert not wrong


def test_no_base_class_has_a_single_child():
    classes = [node for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    names = {node.name for node in classes}
    children = Counter(
        name for node in classes for base in node.bases if (name := ast.unparse(base).rpartition(".")[2]) in names
    )
    assert not [name for name, count in children.items() if count == 1]
    assert not [name for name in names if name.endswith(("Manager", "Helper", "Mixin"))]


def test_absent_libraries_are_neither_imported_nor_installed():
    folders = [PACKAGE, ROOT / "tests", ROOT / "benchmarks_perf"]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    imported = [
        f"{path}: {name}"
        for path in files
        for _, name in imports(Path(path.name), ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] in ABSENT
    ]
    assert not imported
    assert not [name for name in ABSENT if importlib.util.find_spec(name)]


def test_absent_libraries_are_no_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    lines += (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[^a-z0-9_]", line.lower().replace("-", "_"), maxsplit=1)[0] for line in lines}
    assert not named & (ABSENT | {"open_clip_torch"})


def test_no_pickle_is_read():
    imported = [
        f"{path}:{line} imports {name}"
        for path, tree in sources().items()
        for line, name in imports(path, tree)
        if name.partition(".")[0] in PICKLES
    ]
    assert not imported
    for name, place, keywords in calls():
        assert not name.endswith("read_pickle"), place
        assert name != "torch.load" or is_constant(keywords.get("weights_only"), True), place
        assert "allow_pickle" not in keywords or is_constant(keywords["allow_pickle"], False), place


def named_values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of the keywords of a call, the constant keys of a dictionary, the defaults of a signature."""
    if isinstance(node, ast.Call):
        yield from ((keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg)
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from ((str(key.value), value) for key, value in pairs if isinstance(key, ast.Constant))
    elif isinstance(node, ast.arguments):
        positional = zip(reversed([*node.posonlyargs, *node.args]), reversed(node.defaults), strict=False)
        keyword_only = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        yield from ((arg.arg, value) for arg, value in [*positional, *keyword_only] if value)


def test_no_remote_code_is_run_unless_the_caller_asks():
    """`trust_remote_code` may be handed on, but nothing here switches it on."""
    switched_on = [
        f"{path}:{value.lineno}"
        for path, tree in sources().items()
        for node in ast.walk(tree)
        for name, value in named_values(node)
        if name == "trust_remote_code" and any(isinstance(n, ast.Constant) and n.value for n in ast.walk(value))
    ]
    assert not switched_on
