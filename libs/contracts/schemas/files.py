"""The schema files: one per topic, named as it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from libs.contracts.schemas.compatibility import breaking_changes
from libs.contracts.topics import TOPICS, Topic

FOLDER = Path(__file__).parent

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(topic: Topic) -> dict[str, Any]:
    """The JSON Schema of what a topic's records hold."""
    return {"$schema": _DIALECT, "$id": f"urn:gpki:event:{topic.name}", **topic.event.model_json_schema()}


def committed(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """The schemas as they were written last, by topic."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}


def check(folder: Path = FOLDER, topics: Mapping[str, Topic] = TOPICS) -> list[str]:
    """What is wrong with the files: a breaking change, a topic that is gone, a file that is not current."""
    then = committed(folder)
    faults = _breaking(then, topics)
    if faults:
        return faults
    current = {name: schema(topic) for name, topic in topics.items()}
    stale = sorted(name for name in current if then.get(name) != current[name])
    return [f"{name}: not current, run python -m libs.contracts.schemas" for name in stale]


def write(folder: Path = FOLDER, topics: Mapping[str, Topic] = TOPICS, *, replace: bool = False) -> list[str]:
    """Write every file; returns the breaking changes for which nothing was written."""
    faults = [] if replace else _breaking(committed(folder), topics)
    if faults:
        return faults
    for name in committed(folder).keys() - topics.keys():
        (folder / f"{name}.json").unlink()
    for name, topic in topics.items():
        text = json.dumps(schema(topic), indent=2, sort_keys=True, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return []


def _breaking(then: Mapping[str, dict[str, Any]], topics: Mapping[str, Topic]) -> list[str]:
    gone = [f"{name}: the topic is gone" for name in then if name not in topics]
    changed = [
        f"{name}{change}"
        for name in then
        if name in topics
        for change in breaking_changes(then[name], schema(topics[name]))
    ]
    return gone + changed
