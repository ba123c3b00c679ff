"""Handlers that keep a service's copy of the state topics."""

from collections.abc import Callable

from libs.bus.outcomes import Done, Poison
from libs.bus.work import Handler, Work
from libs.contracts.state import Certificate, Key, User
from libs.storage import state


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

    Whoever can write the topic can therefore add no key of his own.
    """

    async def project(work: Work[Key]) -> None:
        async with work.recording(*work.deliveries) as recording:
            trusted = [delivery for delivery in recording.deliveries if is_trusted(delivery.event)]
            await state.put_keys(recording.connection, [delivery.event for delivery in trusted])
            for delivery in recording.deliveries:
                trusts = delivery in trusted
                recording.settle(delivery, Done() if trusts else Poison("the key's chain is not trusted"))

    return project
