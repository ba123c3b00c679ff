"""Fixtures that every kind of test may ask for, and what may run beside what."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.support.stack import full_stack, stack

__all__ = ["full_stack", "stack"]

# No deadline: time is no guarantee of these tests, and a busy machine must not fail one.
settings.register_profile("every-run", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=2_000, deadline=None)
settings.load_profile("every-run")

HERE = Path(__file__).parent

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
"""A test that docs/security.md names: it proves a row, and so belongs to `make attacks` wherever it lies."""

REREADS = "test_repeats.py"

ALONE = "tests/e2e/test_demo.py::test_ctrl_c"
"""It has a stack of its own and takes minutes: another worker than its folder's may run it."""

IN_PIECES = (
    "tests/integration/",
    "tests/attacks/access/",
    *(
        f"tests/attacks/test_{what}"
        for what in (
            "authorisation",
            "backup",
            "changed_address",
            "crash_dumps",
            "custody",
            "edges",
            "keys_topic",
            "offline_proof",
            "pin",
            "posting",
            "purposes",
            "rules",
            "sealing",
            "suspension",
            "verifying",
            "witness",
        )
    ),
)
"""Of these a worker takes a file at a time: nothing but the infrastructure is shared, and the last one ends sooner."""

FULL_STACK = {"tests/faults": "tests/faults", "tests/e2e": "tests/e2e", "tests/attacks": "tests/e2e"}
"""Folders whose tests share a full stack, and so a worker, in this order; neither of the two waits for the other."""

LONGEST_FIRST = (
    "faults",
    "e2e",
    "attacks",
    "lint",
    *(f"integration/{part}" for part in ("bus", "stack", "crl_verifier", "gateway", "otp_dispatch")),
)


def _folder(path: Path) -> str:
    return path.parent.relative_to(HERE).as_posix()


class LoadFolder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Tests that share what their fixtures started share a worker.

    xdist's own `loadgroup` does not group with pytest 9.2, and does not say so (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ALONE):
            return nodeid
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return file if file.startswith(IN_PIECES) else FULL_STACK.get(folder, folder)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFolder:
    """With `-n`: by folder, in the order of collection."""
    config.option.loadscopereorder = False
    return LoadFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folders that take longest begin; and what reads whole topics again, before others have filled them.

    Faults that share a stack follow each other.
    """
    named = set(NAMED.findall((HERE.parent / "docs" / "security.md").read_text(encoding="utf-8")))
    for item in items:
        file, _, test = item.nodeid.partition("::")
        if file.startswith("tests/attacks/") or (file, test.partition("[")[0]) in named:
            item.add_marker("attack")
        if item.nodeid.startswith(IN_PIECES) and "full_stack" in getattr(item, "fixturenames", ()):
            raise pytest.UsageError(f"{item.nodeid} would start a full stack of its own: IN_PIECES in {__file__}")
    rank = {folder: number for number, folder in enumerate(LONGEST_FIRST)}

    def place(item: pytest.Item) -> tuple[int, bool, str]:
        campaign = item.get_closest_marker("campaign")
        kind = str(campaign.kwargs["stack"]) if campaign else ""
        return rank.get(_folder(item.path), len(rank)), item.path.name != REREADS, kind

    items.sort(key=place)
