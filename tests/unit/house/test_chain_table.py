"""services/README.md is the architecture: its table names the topics that a service's code names, no more, no fewer."""

import ast
from pathlib import Path

import pytest

from deploy.native.chain import chain_table, event_of
from libs.contracts import topics

SERVICES = Path(__file__).parents[3] / "services"


def topics_named_in(service: Path) -> set[str]:
    """Events of the topics that a service's code names; the outcome `Rejected` names `rejected`."""
    named: set[str] = set()
    for file in service.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "topics":
                if isinstance(found := getattr(topics, node.attr), topics.Topic):
                    named.add(event_of(found.name))
            elif isinstance(node, ast.ImportFrom) and node.module == "libs.bus.outcomes":
                named |= {"rejected" for name in node.names if name.name == "Rejected"}
    return named


TABLE = chain_table()
FOLDERS = sorted(path.parent.name for path in SERVICES.glob("*/app.py"))


def test_every_service_has_its_row() -> None:
    assert set(TABLE) == set(FOLDERS)


@pytest.mark.parametrize("service", FOLDERS)
def test_the_row_names_the_topics_of_the_code(service: str) -> None:
    consumed, emitted = TABLE[service]
    assert topics_named_in(SERVICES / service) == consumed | emitted


def test_every_chain_topic_has_a_consumer_or_is_for_igfmas() -> None:
    consumed = {event for row in TABLE.values() for event in row[0]}
    for_igfmas = {"application-refused", "pin-answered", "posted", "completed", "countersigned", "tile"}
    assert {event_of(name) for name in topics.TOPICS} <= consumed | for_igfmas


def test_the_reading_of_code_can_fail(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from libs.contracts import topics\nx = topics.SIGNED\n")
    assert topics_named_in(tmp_path) == {"signed"}


def test_who_may_write_a_signed_topic_is_whose_row_emits_it() -> None:
    """I-38. The operator ends what a dead letter was of."""
    for topic in topics.TOPICS.values():
        emitting = {service for service, (_, emitted) in TABLE.items() if event_of(topic.name) in emitted}
        if topic.producers:
            assert set(topic.producers) == emitting | ({"operations"} if topic is topics.REJECTED else set()), (
                topic.name
            )


def test_every_topic_is_signed_but_what_carries_its_proof_and_what_costs_per_document() -> None:
    unsigned = {topic for topic in topics.TOPICS.values() if not topic.producers}
    per_document = {topic for topic in topics.TOPICS.values() if topic.key == "document"} | {topics.PROGRESSED}
    outsiders = {topic for topic in topics.TOPICS.values() if topic.outsiders}
    assert unsigned == per_document | outsiders | {topics.LOG_COUNTERSIGNED}, "its note carries the witness's signature"
