"""What topics are made with; a cluster between two controllers: waited for, and named when it does not end."""

from typing import Any, cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NodeNotReadyError

from libs.bus import topics
from libs.bus.topics import TopicError, controller_known, declared_shapes
from libs.contracts.topics import SEALED_RETENTION, TOPICS


def test_what_carries_a_sealed_pin_is_kept_no_longer_in_its_dead_letter() -> None:
    """PIN-3: nor compacted, which would keep it for ever."""
    carriers = [topic for topic in TOPICS.values() if {"sealed", "sealed_pin"} & topic.event.model_fields.keys()]
    assert len(carriers) >= 5
    for name, shape in declared_shapes(carriers, replication=1).items():
        assert shape.settings["cleanup.policy"] == "delete", name
        assert int(shape.settings["retention.ms"]) == SEALED_RETENTION.total_seconds() * 1000, name


class Cluster:
    """Answers as a cluster whose broker has yet to register again: controller -1, `without` times."""

    def __init__(self, without: int) -> None:
        self.without = without

    async def describe_cluster(self) -> dict[str, Any]:
        self.without -= 1
        if self.without == 0:
            raise NodeNotReadyError  # the metadata name no broker at all
        return {"controller_id": -1 if self.without >= 0 else 1}


async def test_a_cluster_that_has_no_controller_yet_is_waited_for() -> None:
    cluster = Cluster(without=2)
    await controller_known(cast("AIOKafkaAdminClient", cluster))
    assert cluster.without == -1, "asked until it was named, and no more"


async def test_a_cluster_that_stays_without_a_controller_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topics, "CONTROLLER_TRIES", 2)
    with pytest.raises(TopicError, match="no controller"):
        await controller_known(cast("AIOKafkaAdminClient", Cluster(without=5)))
