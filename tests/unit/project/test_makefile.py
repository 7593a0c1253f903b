"""Each Python has an environment of its own, and the tests run under all of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout, and beside it a PATH on which python3 is Python 3.11."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, checkout)
    (checkout / "pyproject.toml").touch()
    (tmp_path / "bin").mkdir()
    add_python(tmp_path / "bin/python3", "3.11")
    return checkout


def add_python(place: Path, version: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\necho {version}\n")
    place.chmod(0o755)


def planned(folder: Path, *words: str) -> str:
    """Return what make would run."""
    path = f"{folder.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["make", "-n", *words],
        cwd=folder,
        env={"PATH": path},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_usual_python_has_the_environment_that_readme_names(folder: Path) -> None:
    assert "python3 -m venv .venv\n" in planned(folder, "unit")


def test_another_python_has_another_environment(folder: Path) -> None:
    add_python(folder.parent / "bin/python3.13", "3.13")
    add_python(folder / ".venv/bin/python", "3.11")
    said = planned(folder, "unit", "PYTHON=python3.13")
    assert "python3.13 -m venv .venv-3.13\n" in said
    assert ".venv-3.13/bin/python -m pytest" in said


def test_an_environment_of_a_python_that_was_another_is_made_anew(
    folder: Path,
) -> None:
    for name in (".runtime", ".development"):
        (folder / ".venv").mkdir(exist_ok=True)
        (folder / ".venv" / name).touch()
    add_python(folder / ".venv/bin/python", "3.10")
    said = planned(folder, "unit")
    assert "rm -rf .venv\n" in said
    assert ".venv/bin/pip install" in said
    add_python(folder / ".venv/bin/python", "3.11")
    for name in (".runtime", ".development"):
        (folder / ".venv" / name).touch()
    assert "pip install" not in planned(folder, "unit")


def test_the_unit_tests_run_under_each_python_on_the_path(folder: Path) -> None:
    for version in ("3.11", "3.12", "3.13"):
        add_python(folder.parent / f"bin/python{version}", version)
    add_python(folder.parent / "bin/python3.14", "")  # as pyenv's that is not active
    said = planned(folder, "test", "NO_APT=1")
    assert "unit tests under python3.11" not in said
    for version in ("3.12", "3.13"):
        assert f".venv-{version}/bin/python -m pytest -q" in said
    assert ".venv-3.14" not in said
