"""The rooms and their order (ARCHITECTURE.md): a module imports what is below it, never above, and siblings never meet."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "selflengthen"

ORDER = (
    ("errors",),
    ("records",),
    ("text", "address"),
    ("config",),
    ("recipes",),
    ("store",),
    ("engines", "trainers"),
    ("executors",),
    ("stages",),
    ("serving",),
    ("pipeline", "report"),
    ("cli",),
)
"""From the bottom up; rooms on one line are siblings."""

LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "vllm", "ray", "safetensors", "tokenizers")


def imports(file: Path) -> list[tuple[str, int]]:
    """Modules that a file imports, late ones included, and the line."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, node.lineno))
    return found


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "selflengthen" and len(parts) > 1 else None


def modules() -> list[Path]:
    return sorted(file for file in PACKAGE.rglob("*.py") if (file.name != "__main__.py" and file.parent != PACKAGE) or file.stem in LEVEL)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path):
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert here in LEVEL, f"{file} is in no room of ARCHITECTURE.md"
    for module, line in imports(file):
        room = room_of(module)
        if room is None or room == here:
            continue
        assert LEVEL[room] < LEVEL[here], f"{file}:{line} ({here}) imports {module} ({room}), which is not below it"


def test_no_drawers():
    names = {path.stem for path in PACKAGE.rglob("*")}
    assert not names & {"utils", "util", "common", "helpers", "helper", "misc"}


@pytest.mark.parametrize(
    "module", ["config", "recipes", "text", "store", "engines", "trainers", "executors", "stages", "serving", "pipeline", "report", "cli"]
)
def test_no_room_loads_a_heavy_library_on_import(module: str):
    code = f"import sys, selflengthen.{module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
