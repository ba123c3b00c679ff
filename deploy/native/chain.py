"""The chain as services/README.md tells it: which service consumes and emits what. Tests hold the table against the
wiring, and the brokers allow each service what its row says.
"""

import re
from typing import NamedTuple

from deploy.native.layout import CHECKOUT
from libs.contracts.topics import TOPICS, Topic

_ROW = re.compile(r"^\| (\w+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


class Row(NamedTuple):
    """Topics of one service, by event."""

    consumes: set[str]
    emits: set[str]


def event_of(topic: str) -> str:
    """The event of a topic's name, as the table has it."""
    return topic.split(".")[-2]


BY_EVENT: dict[str, Topic] = {event_of(name): topic for name, topic in TOPICS.items()}


def chain_table() -> dict[str, Row]:
    """Service -> its row; `nothing` is none."""
    text = (CHECKOUT / "services" / "README.md").read_text(encoding="utf-8")
    rows = {name: Row(_events(consumes), _events(emits)) for name, consumes, emits in _ROW.findall(text)}
    rows.pop("service", None)
    return rows


def _events(cell: str) -> set[str]:
    return set(cell.split(", ")) - {"nothing"}
