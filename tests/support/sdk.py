"""The SDK as it is when it is installed: a copy of its folder under its own name, in a clean interpreter."""

import os
import shutil
import sys
from pathlib import Path

SDK = Path(__file__).parents[2] / "libs" / "gpki_client"


def installed(folder: Path) -> Path:
    """Lay the package out as its pyproject.toml says; returns what goes on the path."""
    shutil.copytree(SDK, folder / "gpki_client", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def interpreter(path: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a Python that sees the package and its dependencies, and nothing of the checkout."""
    return [sys.executable, "-P", "-W", "error"], {"PYTHONPATH": str(path), "PATH": os.environ["PATH"]}
