"""Who is known to Kafka on the embedded stack, and what each may do there; whatever is not said here is denied."""

import json
import os
from collections.abc import Iterator

from deploy.native import broker
from deploy.native.chain import BY_EVENT, Row, chain_table
from deploy.native.failures import StackError
from deploy.native.layout import ADMINISTRATOR, SERVICES, Layout
from libs.bus.principals import Acl, Operation, Pattern, Resource, establish
from libs.contracts.custody import READ_AGAIN
from libs.contracts.topics import (
    APPLICATION_REFUSED,
    COMPLETED,
    KEYS,
    LOG_COUNTERSIGNED,
    LOG_TILE,
    PIN_ANSWERED,
    TOPICS,
)

MONITOR = "monitor"
SIGNER = "hsm_signer"
OPERATOR = "operator"
AUDITOR = "auditor"
CALLER = "igfmas"
OBSERVER = "observer"

PRINCIPALS = (*SERVICES, OPERATOR, AUDITOR, CALLER, OBSERVER)
"""Who always has an account beside the superusers: each service under its own name, and the people's programs."""

SYSTEMS = "GPKI_CALLER_SYSTEMS"
"""What the certificate authority is told of callers beside ours: they may come over Kafka too, each as itself."""

TOLD_TO_CALLERS = (COMPLETED, APPLICATION_REFUSED, PIN_ANSWERED, LOG_TILE, LOG_COUNTERSIGNED, KEYS)
"""What a caller reads, and the keys of those who sign it; what it writes are the topics declared for outsiders."""

EVERYTHING_OF_OURS = "gpki."
"""What the name of every topic begins with."""


async def admit(layout: Layout) -> None:
    """Give everybody an account and exactly the permissions that are declared here; repeatable.

    Raises PrincipalError, TopicError, KafkaError.
    """
    others = callers() - {CALLER}
    passwords = {principal: broker.password(layout, principal) for principal in (*PRINCIPALS, *others)}
    await establish(broker.access(layout), passwords, declared())


def callers() -> set[str]:
    """Ours and those that the environment names. Raises StackError when one has the name of another principal."""
    named = {CALLER, *json.loads(os.environ.get(SYSTEMS, "{}"))}
    taken = named & {*SERVICES, OPERATOR, AUDITOR, OBSERVER, ADMINISTRATOR, broker.BROKERS}
    if taken:
        raise StackError(f"{SYSTEMS} names {', '.join(sorted(taken))}, a principal of the platform", "choose another")
    return named


def declared() -> set[Acl]:
    """Every permission, of services from their rows in services/README.md."""
    return {
        *(acl for service, row in chain_table().items() for acl in _of_service(service, row)),
        *(acl for caller in callers() for acl in _of_caller(caller)),
        *_of_observer(),
        *_of_operator(),
        *_of_monitor(),
        *_of_signer(),
        *_of_auditor(),
    }


def _of_service(service: str, row: Row) -> Iterator[Acl]:
    for name in {KEYS.name, *(BY_EVENT[event].name for event in row.consumes)}:  # by its keys it knows the producers
        yield Acl(service, Operation.READ, Resource.TOPIC, name)
    for event in row.emits:
        yield Acl(service, Operation.WRITE, Resource.TOPIC, BY_EVENT[event].name)
    if service != MONITOR:  # it alone does not run the loop of libs/bus, which buries what it cannot process
        for event in row.consumes:
            yield Acl(service, Operation.WRITE, Resource.TOPIC, BY_EVENT[event].dead_letter)
    yield Acl(service, Operation.READ, Resource.GROUP, service)
    yield Acl(service, Operation.READ, Resource.GROUP, f"{service}.", Pattern.PREFIXED)


def _of_caller(caller: str) -> Iterator[Acl]:
    for topic in TOPICS.values():
        if topic.outsiders:
            yield Acl(caller, Operation.WRITE, Resource.TOPIC, topic.name)
    for topic in TOLD_TO_CALLERS:
        yield Acl(caller, Operation.READ, Resource.TOPIC, topic.name)
    yield Acl(caller, Operation.READ, Resource.GROUP, f"{caller}-", Pattern.PREFIXED)


def _of_observer() -> Iterator[Acl]:
    """The demonstration follows every stage; it joins no group and writes nothing."""
    yield Acl(OBSERVER, Operation.READ, Resource.TOPIC, EVERYTHING_OF_OURS, Pattern.PREFIXED)


def _of_monitor() -> Iterator[Acl]:
    """Tells how far each group is behind on each topic."""
    yield Acl(MONITOR, Operation.DESCRIBE, Resource.GROUP, "*")
    for topic in TOPICS.values():
        yield Acl(MONITOR, Operation.DESCRIBE, Resource.TOPIC, topic.name)


def _of_signer() -> Iterator[Acl]:
    """Reads again what it has said: by that it knows whether its database went back in time."""
    for topic in READ_AGAIN:
        yield Acl(SIGNER, Operation.READ, Resource.TOPIC, topic.name)


def _of_operator() -> Iterator[Acl]:
    """Looks at everything, replays dead letters, publishes again what was recorded, moves a group on.

    Makes, changes and deletes no topic, account or permission.
    """
    for operation in (Operation.READ, Operation.WRITE, Operation.DESCRIBE_CONFIGS):
        yield Acl(OPERATOR, operation, Resource.TOPIC, EVERYTHING_OF_OURS, Pattern.PREFIXED)
    for service in SERVICES:
        yield Acl(OPERATOR, Operation.READ, Resource.GROUP, service)
        yield Acl(OPERATOR, Operation.READ, Resource.GROUP, f"{service}.", Pattern.PREFIXED)
    yield Acl(OPERATOR, Operation.DESCRIBE, Resource.GROUP, "*")
    yield Acl(OPERATOR, Operation.DESCRIBE, Resource.CLUSTER, "kafka-cluster")


def _of_auditor() -> Iterator[Acl]:
    """Looks at everything that is on Kafka, joins no group, and writes nothing."""
    for operation in (Operation.READ, Operation.DESCRIBE_CONFIGS):
        yield Acl(AUDITOR, operation, Resource.TOPIC, EVERYTHING_OF_OURS, Pattern.PREFIXED)
    yield Acl(AUDITOR, Operation.DESCRIBE, Resource.GROUP, "*")
    yield Acl(AUDITOR, Operation.DESCRIBE, Resource.CLUSTER, "kafka-cluster")
