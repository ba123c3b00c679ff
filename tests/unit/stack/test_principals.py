"""What each principal of Kafka may do follows from the chain's table and the topics' declarations."""

import json

import pytest

from deploy.native import principals
from deploy.native.chain import BY_EVENT, chain_table
from deploy.native.failures import StackError
from deploy.native.layout import SERVICES
from libs.bus.principals import Acl, Operation, Pattern, Resource
from libs.contracts import topics
from libs.contracts.topics import TOPICS


def written(principal: str) -> set[str]:
    return {
        acl.name
        for acl in principals.declared()
        if acl.principal == principal and acl.operation is Operation.WRITE and acl.resource is Resource.TOPIC
    }


def test_every_service_has_a_row_and_every_topic_an_event_of_its_own() -> None:
    assert set(chain_table()) == set(SERVICES)
    assert len(BY_EVENT) == len(TOPICS)


def test_a_service_writes_what_it_emits_and_buries_what_it_consumes() -> None:
    of_documents = (topics.POSTED, topics.PROGRESSED, topics.REJECTED, topics.WAITING, topics.COMPLETED)
    assert written("posting") == {
        *(topic.name for topic in (*of_documents, topics.LOG_CHECKPOINT, topics.LOG_TILE)),
        *(topic.dead_letter for topic in (topics.VERIFIED, topics.REJECTED, topics.CERTIFICATE)),
    }
    assert written("monitor") == {topics.LOG_COUNTERSIGNED.name}, "it does not run the loop, and buries nothing"


def test_no_service_has_a_permission_that_a_name_begins_with_but_for_its_own_groups() -> None:
    prefixed = {acl for acl in principals.declared() if acl.principal in SERVICES and acl.pattern is Pattern.PREFIXED}
    assert {acl.resource for acl in prefixed} == {Resource.GROUP}
    assert all(acl.name == f"{acl.principal}." for acl in prefixed)


def test_another_caller_comes_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPKI_CALLER_SYSTEMS", json.dumps({"igfmas": "iGFMAS", "yours": "YourSystem"}))
    assert written("yours") == written("igfmas") == {topic.name for topic in TOPICS.values() if topic.outsiders}
    assert Acl("yours", Operation.READ, Resource.GROUP, "yours-", Pattern.PREFIXED) in principals.declared()


@pytest.mark.parametrize("name", ["gateway", "operator", "observer", "administrator", "kafka"])
def test_a_caller_cannot_have_the_name_of_a_principal_of_ours(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GPKI_CALLER_SYSTEMS", json.dumps({name: "Theirs"}))
    with pytest.raises(StackError, match=f"names {name}, a principal of the platform"):
        principals.declared()
