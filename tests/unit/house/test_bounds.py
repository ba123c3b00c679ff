"""The list of bounds in docs/performance.md names what is there."""

import importlib
import re

from deploy.native.layout import CHECKOUT

SECTION = (CHECKOUT / "docs" / "performance.md").read_text().partition("\n## Bounds\n")[2].partition("\n## ")[0]
NAMED = re.compile(r"`([\w/]+)\.py`((?:,? ?(?:and|or)? ?`[A-Za-z_.]+`)+)")
FILE = re.compile(r"\btests/[\w/]+\.py")


def constants() -> list[tuple[str, str]]:
    """Module and constant, as the section names them: a file in backticks, and the names that follow it."""
    return [
        (path.replace("/", "."), name)
        for path, names in NAMED.findall(SECTION)
        for name in re.findall(r"`([A-Za-z_.]+)`", names)
    ]


def test_every_bound_that_is_named_exists() -> None:
    found = constants()
    assert len(found) > 50
    missing = []
    for module, name in found:
        place: object = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part, None)
        if place is None:
            missing.append(f"{module}.{name}")
    assert missing == []


def test_every_test_that_is_named_exists() -> None:
    named = FILE.findall((CHECKOUT / "docs" / "performance.md").read_text())
    assert named
    assert [file for file in named if not (CHECKOUT / file).exists()] == []
