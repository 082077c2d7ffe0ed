"""Arrows run only downwards: no layer imports one above it, inside functions neither."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS: tuple[tuple[str, ...], ...] = (
    ("moedsl.source", "moedsl.target"),
    ("moedsl.ir",),
    ("moedsl.arrays", "moedsl.work"),
    ("moedsl.lower",),
    ("moedsl.backend",),
    ("moedsl",),
    ("moedsl.backends",),
    ("moedsl.cli", "moedsl.__main__"),
)
"""From the bottom. Modules of the package that are not named here belong to ``moedsl``."""


BUILDS_ON = {"moedsl.backends.emulator": "moedsl.backends.cuda"}
"""The emulator runs what the cuda backend emits; no other backend knows another."""


def module_name(path: Path) -> str:
    """The dotted name of a source file; backends/ is linked as moedsl.backends."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "moedsl" else ("moedsl", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files() -> dict[str, Path]:
    """Every module of the project by name."""
    found = [*(ROOT / "moedsl").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    return {module_name(path): path for path in found if not _linked(path)}


def _linked(path: Path) -> bool:
    """Whether ``path`` goes through a link: its real place is listed already."""
    return any(parent.is_symlink() for parent in path.parents)


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    """The project's modules that a file imports, wherever in it the import stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *base.split(".")] if base else up)
            members = {f"{base}.{alias.name}" for alias in node.names}
            found |= (members & known) | ({base} if members - known else set())
    return {module for module in found if module == "moedsl" or module.startswith("moedsl.")}


def layer(module: str) -> int:
    """The number of a module's layer; the longest prefix decides."""
    prefixes = [
        (len(prefix), number)
        for number, group in enumerate(LAYERS)
        for prefix in group
        if module == prefix or module.startswith(prefix + ".")
    ]
    return max(prefixes)[1]


def violations(name: str, imported: set[str]) -> list[str]:
    """Imports of ``name`` that point upwards, or from one backend into another."""
    bad = [module for module in imported if layer(module) > layer(name)]
    if name.startswith("moedsl.backends."):
        own = ".".join(name.split(".")[:3])
        allowed = {own, BUILDS_ON.get(own, own)}
        others = {module for module in imported if module.startswith("moedsl.backends.")}
        bad += [m for m in others if not any(inside(m, package) for package in allowed)]
    return [f"{name} imports {module}" for module in sorted(bad)]


def inside(module: str, package: str) -> bool:
    """Whether ``module`` is ``package`` or in it."""
    return module == package or module.startswith(package + ".")


def test_no_layer_imports_upwards() -> None:
    found = files()
    assert {"moedsl.source.span", "moedsl.ir.core", "moedsl.lower.pipeline"} <= found.keys()
    assert any(name.startswith("moedsl.backends.") for name in found)
    bad = [
        violation
        for name, path in sorted(found.items())
        for violation in violations(name, imports(name, path, set(found)))
    ]
    assert bad == []


@pytest.mark.parametrize("name", ["moedsl.__init__", "moedsl.kernel", "moedsl.lower.pipeline"])
def test_the_package_names_no_backend(name: str) -> None:
    """Backends are found by entry points, never by name."""
    assert violations(name.removesuffix(".__init__"), {"moedsl.backends.cuda"})


@pytest.mark.parametrize(
    ("name", "text", "upwards"),
    [
        ("moedsl.ir.core", "import moedsl.source.span", False),
        ("moedsl.ir.core", "from moedsl.lower import pipeline", True),
        ("moedsl.ir.core", "def f():\n    from moedsl.lower.pipeline import PASSES", True),
        ("moedsl.ir.core", "if TYPE_CHECKING:\n    from ..lower import pipeline", True),
        ("moedsl.source.span", "from ..ir import core", True),
        ("moedsl.lower.pipeline", "from moedsl.target import TARGETS", False),
        ("moedsl.work", "from moedsl.lower import pipeline", True),
        ("moedsl.cli.run", "from moedsl.kernel import CompiledKernel", False),
        ("moedsl.backends.cuda.backend", "import moedsl.backends.interp", True),
        ("moedsl.backends.cuda.backend", "import moedsl.backends.emulator", True),
        ("moedsl.backends.emulator.run", "import moedsl.backends.cuda.abi", False),
    ],
)
def test_the_check_sees_every_kind_of_import(
    tmp_path: Path, name: str, text: str, upwards: bool
) -> None:
    file = tmp_path / "file.py"
    file.write_text(text, encoding="utf-8")
    known = {"moedsl.lower.pipeline", "moedsl.ir.core"}
    assert bool(violations(name, imports(name, file, known))) is upwards
