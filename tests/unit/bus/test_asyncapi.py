"""docs/asyncapi.yaml is what the topics say now, and is an AsyncAPI 3 document whose references lead somewhere."""

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from libs.bus import asyncapi
from libs.contracts.topics import TOPICS
from tests.support.references import at, references


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(asyncapi.FILE.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return loaded


def test_the_committed_document_is_current() -> None:
    assert asyncapi.main(["--check"]) == 0


def test_a_document_that_is_not_current_is_said_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncapi, "FILE", tmp_path / "docs" / "asyncapi.yaml")
    monkeypatch.setattr(asyncapi, "document", lambda: {"asyncapi": "3.0.0"})
    assert asyncapi.main(["--check"]) == 1
    assert asyncapi.main([]) == 0
    assert asyncapi.main(["--check"]) == 0
    asyncapi.FILE.write_text(asyncapi.FILE.read_text() + "# by hand\n")
    assert asyncapi.main(["--check"]) == 1


def test_it_is_asyncapi_3_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["asyncapi"].startswith("3.")
    assert document["info"].keys() >= {"title", "version", "description"}
    found = list(references(document))
    assert len(found) > 100
    for reference in found:
        assert at(document, reference) is not None


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_is_a_channel_with_its_event_settings_and_operation(document: dict[str, Any], name: str) -> None:
    topic, channel = TOPICS[name], document["channels"][name]
    assert channel["address"] == name
    (message,) = [at(document, each["$ref"]) for each in channel["messages"].values()]
    payload = at(document, message["payload"]["$ref"])
    assert payload["title"] == topic.event.__name__
    assert set(payload["properties"]) == set(topic.event.model_fields)
    assert message["headers"]["allOf"][1]["properties"]["ce_type"]["const"] == name.replace("-bulk", "")
    kafka = channel["bindings"]["kafka"]
    assert kafka["partitions"] == topic.partitions
    assert kafka["topicConfiguration"]["max.message.bytes"] == topic.max_bytes
    operation = document["operations"][name]
    assert operation["action"] == ("receive" if topic.outsiders else "send")
    assert at(document, operation["channel"]["$ref"]) is channel


def test_nothing_is_a_channel_that_is_no_topic(document: dict[str, Any]) -> None:
    assert document["channels"].keys() == document["operations"].keys() == TOPICS.keys()
