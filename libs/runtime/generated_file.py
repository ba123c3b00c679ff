"""A committed file that a module generates: made anew, or held current by `--check`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]


def yaml_text(described: Mapping[str, Any]) -> str:
    """A document in the form in which it is committed: the same content, the same bytes."""
    return str(yaml.dump(dict(described), Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=120))


def write_or_check(file: Path, wanted: str, arguments: Sequence[str], *, module: str) -> int:
    """Write the file, or with --check say whether it is current; the exit status. Raises OSError."""
    if "--check" in arguments:
        current = file.exists() and file.read_text(encoding="utf-8") == wanted
        sys.stdout.write("" if current else f"{file} is not current: run python -m {module}\n")
        return 0 if current else 1
    file.parent.mkdir(exist_ok=True)
    file.write_text(wanted, encoding="utf-8")
    return 0
