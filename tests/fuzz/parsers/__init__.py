"""The parsers, each with what it must hold; `TARGETS` by name."""

from importlib import import_module

from tests.fuzz.target import Target

NAMES = (
    "der",
    "cms",
    "crl",
    "certificate",
    "jcs",
    "manifest",
    "challenge",
    "sealed",
    "event",
    "token",
    "http",
    "records",
    "note",
    "receipt",
    "producers",
    "answers",
    "views",
    "files",
)


def target(name: str) -> Target:
    """Imported only when asked for: the fuzzer instruments what is imported after it began."""
    found = import_module(f"tests.fuzz.parsers.{name}").TARGET
    assert isinstance(found, Target)
    return found
