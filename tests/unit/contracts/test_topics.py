"""Every topic is declared whole: its event, key, sizes and times fit together."""

from datetime import timedelta
from typing import get_args

import pytest

from libs.contracts import (
    cancelling,
    enrolment,
    log,
    not_me,
    notice,
    pin,
    progress,
    resending,
    signing,
    state,
    suspension,
    token_route,
    topics,
    waiting,
)
from libs.contracts.base import Event
from libs.contracts.topics import (
    CHAIN_RETENTION,
    MAX_DEAD_LETTER_BYTES,
    MAX_RECORD_BYTES,
    SEALED_RETENTION,
    TOPICS,
    Topic,
)

ALL = list(TOPICS.values())


def named(topic: Topic) -> str:
    return topic.name


def events_of(module: object) -> set[type[Event]]:
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Event) and value is not Event and not value.__abstractmethods__
    }


def test_every_event_of_the_contracts_has_a_topic_and_every_topic_is_listed() -> None:
    declared = {topic.event for topic in ALL}
    routes = (signing, progress, cancelling, resending, token_route, waiting)
    modules = (*routes, state, enrolment, suspension, pin, log, not_me, notice)
    assert declared == set().union(*map(events_of, modules))
    assert {value for value in vars(topics).values() if isinstance(value, Topic)} == set(ALL)
    assert all(name == topic.name for name, topic in TOPICS.items())


@pytest.mark.parametrize("topic", ALL, ids=named)
def test_a_topic_carries_its_version_and_fits_its_dead_letter(topic: Topic) -> None:
    assert topic.name.startswith("gpki.")
    assert topic.name.endswith(".v1")
    assert topic.dead_letter == f"{topic.name}.dlq"
    assert topic.max_bytes <= MAX_RECORD_BYTES < MAX_DEAD_LETTER_BYTES
    assert topic.partitions >= 1


@pytest.mark.parametrize("topic", ALL, ids=named)
def test_what_carries_a_sealed_pin_is_kept_a_day_and_nothing_else_that_short(topic: Topic) -> None:
    sealed = {"sealed", "sealed_pin"} & topic.event.model_fields.keys()
    if sealed:
        assert topic.retention == SEALED_RETENTION == timedelta(hours=24)
    elif topic.name.startswith("gpki.signing."):
        assert topic.retention == CHAIN_RETENTION


def test_state_is_compacted_and_has_a_version() -> None:
    of_the_log = {topics.LOG_COUNTERSIGNED}  # its version is the size in the note, which who reads it must judge
    compacted = {topic for topic in ALL if topic.retention is None} - of_the_log
    assert compacted == {topics.USER, topics.CERTIFICATE, topics.KEYS}
    assert all("version" in topic.event.model_fields for topic in compacted)


def test_outsiders_write_what_they_ask_for_and_nothing_else() -> None:
    assert {topic.name for topic in ALL if topic.outsiders} == {
        topics.REQUESTED.name,
        topics.APPLICATION_SUBMITTED.name,
        topics.TOKEN_APPLICATION_SUBMITTED.name,
        topics.PIN_CHANGE_SUBMITTED.name,
        topics.PIN_UNLOCK_ORDERED.name,
        topics.DEVICE_REGISTRATION_SUBMITTED.name,
        topics.REVOCATION_REQUESTED.name,
        topics.SUSPENSION_REQUESTED.name,
        topics.LIFTING_REQUESTED.name,
    }


def test_what_follows_from_the_largest_request_fits_its_topic() -> None:
    added = 3 * 8192 + 2 * 4096  # three challenges, a sealed PIN and OTP, in base64
    for follows in (topics.MEDIUM_RESOLVED, topics.AUTHORISATION_SUBMITTED, topics.AUTHORISATION_SUBMITTED_BULK):
        assert topics.REQUESTED.max_bytes + 4 * added < follows.max_bytes


def test_stages_of_a_refusal_are_services_that_can_refuse() -> None:
    assert set(get_args(signing.Stage)) == {"medium_lookup", "otp_dispatch", "hsm_signer", "crl_verifier", "posting"}
