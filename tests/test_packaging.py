"""What is shipped: the top level, the two links, the entry points, the contents of a wheel."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LINKS = ("grammar", "backends")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked() -> list[str]:
    """Every file the repository holds or would hold, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return [name for name in listed.stdout.split("\0") if name]
    # A tree without a repository around it: what an export or an sdist unpacks to.
    unwanted = {".venv", ".cache"}
    return [path.name for path in ROOT.iterdir() if path.name not in unwanted]


def test_the_top_level_is_what_it_should_be() -> None:
    top = {name.partition("/")[0] for name in tracked()}
    allowed = {"pyproject.toml", "moedsl", "grammar", "backends", "tests", "examples"}
    assert {name for name in top if not name.startswith(".")} == {
        *allowed,
        "README.md",
        "LICENSE",
    }


@pytest.mark.parametrize("name", LINKS)
def test_links_lead_to_the_folders_beside(name: str) -> None:
    link = ROOT / "moedsl" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert link.resolve() == (ROOT / name).resolve()


def test_entry_points_lead_somewhere() -> None:
    from importlib.metadata import entry_points

    scripts = entry_points(group="console_scripts", name="moedsl")
    assert [script.load().__module__ for script in scripts] == ["moedsl.cli.dispatch"]
    declared = project()["project"]["entry-points"]["moedsl.backends"]
    installed = {entry.name: entry for entry in entry_points(group="moedsl.backends")}
    assert installed.keys() == declared.keys()
    assert all(entry.load().name == name for name, entry in installed.items())


def test_extras_are_those_promised() -> None:
    extras = project()["project"]["optional-dependencies"]
    assert extras.keys() == {"test", "sass", "bench", "torch", "lsp", "dev"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_source_file(wheel: Path) -> None:
    """Linked folders come along under ``moedsl``, once each, whatever their files are."""
    expected = set()
    for folder in ("moedsl", *LINKS):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(ROOT).as_posix()
                expected.add(inside if folder == "moedsl" else f"moedsl/{inside}")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert len(names) == len(set(names))
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == expected
    assert "moedsl/grammar/moe.lark" in packed
    assert any(name.endswith(".cuh") for name in packed)


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """Unpacked, and run from elsewhere with nothing of this tree on the path."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import moedsl.cli; "
        "assert moedsl.cli.__file__.startswith(sys.path[0]), moedsl.cli.__file__; "
        "sys.exit(moedsl.cli.main())"
    )
    example = ROOT / "examples" / "quickstart.moe"
    process = subprocess.run(
        [sys.executable, "-P", "-c", script, str(tmp_path / "site"), "check", str(example)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
