"""Each topic is told as the broker has it, with what differs from its declaration, and how far each group is behind."""

from typing import Any

from aiokafka import TopicPartition

from libs.bus.topics import Shape, declared_shapes
from libs.contracts import topics
from services.operations.cluster import Cluster, Group
from services.operations.topic_table import HEAD, table

DECLARED = (topics.SIGNED, topics.USER)
SHAPES = declared_shapes(DECLARED, 1)
NAME = topics.SIGNED.name


def cluster(**changed: Any) -> Cluster:
    places = [TopicPartition(name, number) for name, shape in SHAPES.items() for number in range(shape.partitions)]
    return Cluster(
        **{"shapes": SHAPES, "begins": dict.fromkeys(places, 0), "ends": dict.fromkeys(places, 0), **changed}
    )


def without(name: str) -> dict[str, Shape]:
    return {each: shape for each, shape in SHAPES.items() if each != name}


def changed(name: str, **values: Any) -> dict[str, Shape]:
    return {**SHAPES, name: SHAPES[name]._replace(**values)}


def test_topics_that_stand_as_declared_are_told_and_nothing_differs() -> None:
    lines, differs = table(DECLARED, cluster())
    assert not differs
    assert lines[0] == HEAD
    assert [line.split() for line in lines[1:]] == [
        [NAME, "4", "14", "d", "256", "KiB", "0..0"],
        [topics.USER.name, "4", "compacted", "256", "KiB", "0..0"],
    ]


def test_a_missing_topic_and_a_missing_dead_letter_differ_and_are_named() -> None:
    for name in (NAME, topics.SIGNED.dead_letter):
        lines, differs = table(DECLARED, cluster(shapes=without(name)))
        assert differs
        (line,) = [line for line in lines if line.startswith("  ! ")]
        assert line.startswith(f"  ! {name} is not on the broker")


def test_other_partitions_and_other_settings_differ_and_are_named() -> None:
    lines, differs = table(DECLARED, cluster(shapes=changed(NAME, partitions=3)))
    assert differs
    assert f"  ! {NAME} has 3 partitions, declared are 4: keys would move" in lines
    settings = dict(SHAPES[NAME].settings) | {"retention.ms": "60000", "flush.ms": "1"}
    lines, differs = table(DECLARED, cluster(shapes=changed(NAME, settings=settings)))
    assert differs
    assert [line for line in lines if "!" in line] == [f"  ! {NAME}: retention.ms is 60000, declared is 1209600000"]


def test_a_topic_that_asks_for_less_than_a_majority_of_three_or_lies_on_fewer_differs() -> None:
    three = declared_shapes(DECLARED, 3)
    assert {shape.settings["min.insync.replicas"] for shape in three.values()} == {"2"}
    assert table(DECLARED, cluster(shapes=three))[1] is False
    for wrong, said in (
        ({"settings": {**three[NAME].settings, "min.insync.replicas": "1"}}, "min.insync.replicas is 1, declared is 2"),
        ({"replicas": 1}, "lies on 1 brokers, declared are 3"),
    ):
        lines, differs = table(DECLARED, cluster(shapes={**three, NAME: three[NAME]._replace(**wrong)}))
        assert differs
        assert [line for line in lines if "!" in line and said in line] != []


def test_lag_is_summed_per_group_and_what_nobody_has_read_or_retention_took_is_told() -> None:
    first, second = TopicPartition(NAME, 0), TopicPartition(NAME, 1)
    found = cluster(
        begins={**cluster().begins, first: 5},
        ends={**cluster().ends, first: 10, second: 7, TopicPartition(topics.SIGNED.dead_letter, 0): 1},
        groups=(
            Group("crl_verifier", 1, {first: 9, second: 7}, frozenset({first, second})),
            Group("gateway", 1, {}, frozenset({second})),
            Group("monitor", 0, {first: 3}, frozenset()),
            Group("elsewhere", 1, {TopicPartition("other", 0): 3}, frozenset()),
        ),
    )
    lines, differs = table(DECLARED, found)
    assert not differs
    assert lines[1].endswith(" 5..17")
    assert [" ".join(line.split()) for line in lines[2:5]] == [
        "crl_verifier lag 1",
        "gateway lag 7",
        "monitor lag 7, 2 of them deleted before they were read, nobody is in it",
    ]
    assert lines[5].split()[0] == topics.SIGNED.dead_letter, "somebody buried something"
    assert not [line for line in lines if "elsewhere" in line]
