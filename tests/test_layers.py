"""A package imports only packages below it. See ARCHITECTURE.md."""

import ast
import json
import re
from pathlib import Path

import ssd_keras

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "ssd_keras"
# From the bottom to the top; packages of one line do not import each other.
STACK = [
    {"version", "core"},
    {"boxes", "tflite"},
    {"drawing"},
    {"data"},
    {"assigners", "losses", "optimizers"},
    {"models"},
    {"evaluation"},
    {"importers"},
    {"presets"},
    {"doctor"},
    {"exporters"},
    {"engine"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(STACK) for name in names}
# The facade: methods of SSD that only forward.
EXCEPTIONS = {("models/detector_model.py", above) for above in ("engine", "exporters", "presets")}


def modules():
    """File by module name, such as "boxes.iou"; a package's name stands for its __init__."""
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(path):
    """Modules of the package that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            own, _, rest = name.partition(".")
            while own == "ssd_keras" and rest and rest not in MODULES:
                rest = rest.rpartition(".")[0]
            if own == "ssd_keras" and rest:
                yield rest


def test_every_package_has_a_level():
    assert {name.split(".")[0] for name in MODULES} == LEVEL.keys()


def test_imports_point_down():
    upward = set()
    for name, path in MODULES.items():
        package = name.split(".")[0]
        for other in {imported.split(".")[0] for imported in imports(path)} - {package}:
            if LEVEL[other] >= LEVEL[package]:
                upward.add((path.relative_to(PACKAGE).as_posix(), other))
    assert upward == EXCEPTIONS


def test_no_import_circle():
    left = {}
    for name, path in MODULES.items():
        file = path.relative_to(PACKAGE).as_posix()
        others = {other for other in imports(path) if (file, other.split(".")[0]) not in EXCEPTIONS}
        left[name] = others - {name}
    # Removes what imports nothing that is left, or is imported by nothing that is left.
    while free := {
        name
        for name in left
        if not left[name] & left.keys() or name not in set().union(*left.values())
    }:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, f"a circle among {sorted(left)}"


def defined_names(path):
    """Names that a module defines or imports at its top level."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        else:
            yield from (x.id for x in ast.walk(node) if isinstance(x, ast.Name))


def scripts():
    """Name and code of benchmarks, clients and notebooks."""
    for folder in ("benchmarks", "export", "training"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix == ".py":
                yield path.name, path.read_text(encoding="utf-8")
            elif path.suffix == ".ipynb":
                cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
                code = ["".join(x["source"]) for x in cells if x["cell_type"] == "code"]
                yield path.name, re.sub(r"^\s*[!%].*", "", "\n".join(code), flags=re.MULTILINE)


def test_scripts_import_names_that_exist():
    # Most run for minutes and need other programs: no test runs them.
    missing = []
    for script, code in scripts():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ssd_keras"):
                module = node.module.partition(".")[2]
                names = set(defined_names(MODULES[module])) if module else {*ssd_keras.__all__}
                names |= {other.removeprefix(f"{module}.") for other in MODULES}
                missing += [(script, x.name) for x in node.names if x.name not in names]
    assert not missing
