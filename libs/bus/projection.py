"""Handlers that keep a service's copy of the state topics."""

from collections.abc import Callable

from libs.bus.delivery import Delivery
from libs.bus.outcomes import Done, Poison
from libs.bus.work import Handler, Work
from libs.contracts.state import Certificate, Key, User
from libs.storage import state

SEALING_PRODUCER = "hsm_signer"
"""Of the producers of `gpki.keys.v1`, the one that makes sealing keys."""


async def project_users(work: Work[User]) -> None:
    """Keep `gpki.user.v1`."""
    async with work.recording(*work.deliveries) as recording:
        await state.put_users(recording.connection, [delivery.event for delivery in recording.deliveries])
        for delivery in recording.deliveries:
            recording.settle(delivery, Done())


async def project_certificates(work: Work[Certificate]) -> None:
    """Keep `gpki.certificate.v1`."""
    async with work.recording(*work.deliveries) as recording:
        await state.put_certificates(recording.connection, [delivery.event for delivery in recording.deliveries])
        for delivery in recording.deliveries:
            recording.settle(delivery, Done())


def project_keys(is_trusted: Callable[[Key], bool]) -> Handler[Key]:
    """Keep `gpki.keys.v1`: only keys whose chain leads to the service root, for their stated purpose and owner.

    Whoever can write the topic can therefore add no key of his own. The signer speaks for its sealing keys alone.
    """

    async def project(work: Work[Key]) -> None:
        async with work.recording(*work.deliveries) as recording:
            trusted = [
                delivery
                for delivery in recording.deliveries
                if is_trusted(delivery.event) and (delivery.event.purpose == "sealing" or not _signers(delivery))
            ]
            await state.put_keys(recording.connection, [delivery.event for delivery in trusted])
            for delivery in recording.deliveries:
                trusts = delivery in trusted
                recording.settle(delivery, Done() if trusts else Poison("the key's chain is not trusted"))

    return project


def _signers(delivery: Delivery[Key]) -> bool:
    # Who may write the topic was checked, and that `ce_source` is the producer's own.
    return delivery.envelope.source == f"/gpki/{SEALING_PRODUCER}"
