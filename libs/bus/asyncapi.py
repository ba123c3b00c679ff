"""docs/asyncapi.yaml from the declared topics, by FastStream's generator: `python -m libs.bus.asyncapi [--check]`.

What it says beside the generator's: the CloudEvents headers of every record, and the settings of every topic.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from libs.bus.topics import topic_settings
from libs.contracts.cloudevents import event_type
from libs.contracts.event_signature import HEADER
from libs.contracts.topics import TOPICS, Topic
from libs.runtime.generated_file import write_or_check, yaml_text

FILE = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"

_SERVER = "broker.gpki.example:9092"
_TITLE = "GPKI remote signing: the events of the chain"
_DESCRIPTION = (
    "CloudEvents 1.0 in Kafka's binary content mode: attributes are headers, the value is the event's JSON, bytes are "
    "standard base64. Changes are additive: ignore names that you do not know. The key decides the partition "
    "(murmur2); nothing may depend on order between two keys. Topics marked `receive` are written by callers."
)
_HEADERS: dict[str, Any] = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "The same event, the same id."},
        "ce_source": {"type": "string", "minLength": 1, "format": "uri-reference"},
        "ce_type": {"type": "string", "description": "The topic; both lanes of a stage have one type."},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "The record's key."},
        "content-type": {"const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
        HEADER: {
            "type": "string",
            "format": "binary",
            "description": "On topics with x-producers, one's Ed25519 signature over topic, key, every ce_* header and "
            "value: the key's id (32 bytes), then the signature (64 bytes).",
        },
    },
}


def document(topics: Iterable[Topic] = TOPICS.values()) -> dict[str, Any]:
    """The AsyncAPI 3 document of these topics."""
    broker = KafkaBroker(_SERVER)
    declared = {topic.name: topic for topic in topics}
    for topic in declared.values():
        broker.publisher(topic.name, schema=topic.event, title=topic.name, description=_first_line(topic))
    made = AsyncAPI(broker, title=_TITLE, version="1", description=_DESCRIPTION, schema_version="3.0.0")
    described: dict[str, Any] = yaml.load(made.to_specification().to_yaml(), yaml.CSafeLoader)
    for name, channel in described["channels"].items():
        if declared[name].producers:
            channel["x-producers"] = list(declared[name].producers)
        channel["bindings"]["kafka"] |= {
            "partitions": declared[name].partitions,
            "topicConfiguration": _configuration(topic_settings(declared[name])),
        }
    for name, operation in described["operations"].items():
        operation["action"] = "receive" if declared[name].outsiders else "send"
    for name, message in described["components"]["messages"].items():
        message["correlationId"] = {"location": "$message.header#/ce_id"}
        message["contentType"] = "application/json"
        topic_name = name.removesuffix(":Message")
        message["headers"] = {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEventHeaders"},
                {"properties": {"ce_type": {"const": event_type(topic_name)}}},
            ]
        }
    described["components"]["schemas"]["CloudEventHeaders"] = _HEADERS
    return described


def text(described: Mapping[str, Any]) -> str:
    """The document as it is committed."""
    return yaml_text(described)


def _first_line(topic: Topic) -> str:
    return (topic.event.__doc__ or "").strip().splitlines()[0]


def _configuration(settings: Mapping[str, str]) -> dict[str, Any]:
    return {
        "cleanup.policy": [settings["cleanup.policy"]],
        "max.message.bytes": int(settings["max.message.bytes"]),
        **({"retention.ms": int(settings["retention.ms"])} if "retention.ms" in settings else {}),
    }


def main(arguments: list[str]) -> int:
    """Write the file, or with --check say whether it is current."""
    return write_or_check(FILE, text(document()), arguments, module="libs.bus.asyncapi")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
