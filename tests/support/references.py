"""References inside a document of JSON or YAML: `$ref: '#/…'`."""

from collections.abc import Iterator
from typing import Any


def references(value: object) -> Iterator[str]:
    """Every reference, wherever it stands."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def at(document: dict[str, Any], reference: str) -> Any:
    """What a reference leads to. Raises KeyError when it leads nowhere."""
    assert reference.startswith("#/")
    place: Any = document
    for step in reference[2:].split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place
