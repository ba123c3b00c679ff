"""An officer's GPKI Mobile: `device-registration-submitted` in, the officer's new state or a refusal out."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from libs.bus.administrators import doubt, signatures_of
from libs.bus.delivery import Delivery
from libs.bus.outcomes import OVERTAKEN, Done, Emit, Outcome, Park, Poison
from libs.bus.work import Work
from libs.contracts.enrolment import (
    ApplicationRefused,
    DeviceRegistration,
    DeviceRegistrationSubmitted,
    device_signature_input,
)
from libs.contracts.state import Device
from libs.crypto.jcs import canonical
from libs.crypto.public_keys import public_key_id
from libs.crypto.sealing import seal
from libs.storage.pool import Connection
from libs.storage.queries import load_queries
from services.enrolment.registration import Officer, Refused, user_state
from services.enrolment.routes import Routes
from services.enrolment.store import officer_of

STAGE: Final = "enrolment"

Submitted = Delivery[DeviceRegistrationSubmitted]

_SQL = load_queries(Path(__file__).parent / "sql" / "devices.sql")

log = structlog.get_logger()


def registered(officer: Officer, registration: DeviceRegistration, at: datetime) -> Officer | Refused:
    """The officer with this device; `at` is the broker's time of the registration.

    The later registration counts, whichever is handled first: two of one officer have no order between them.
    """
    if officer.device is not None and officer.device.registered_at >= at:
        return officer
    sealing_key = X25519PublicKey.from_public_bytes(bytes.fromhex(registration.sealing_key))
    signing_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(registration.signing_key))
    try:
        seal(b"", sealing_key, b"")
    except ValueError:
        return Refused("nothing can be sealed to the device's key")
    device = Device(
        device_id=public_key_id(signing_key),
        sealing_key=sealing_key.public_bytes_raw(),
        signing_key=signing_key.public_bytes_raw(),
        registered_at=at,
    )
    return replace(officer, version=officer.version + 1, device=device)


class Devices:
    """The handler. Raises Unavailable, when the database could not be asked."""

    def __init__(self, *, service_root: bytes, routes: Routes) -> None:
        self._service_root = service_root
        self._routes = routes

    async def submitted(self, work: Work[DeviceRegistrationSubmitted]) -> None:
        """`device-registration-submitted`: the officer's codes go to this device from now on."""
        async with work.recording(*work.deliveries) as recording:
            for delivery in sorted(recording.deliveries, key=lambda item: item.event.registration.user):
                content = device_signature_input(delivery.event.registration)
                both = signatures_of(delivery.event)
                fault = await doubt(recording.connection, delivery, both, content, self._service_root)
                recording.settle(delivery, fault or await self._register(recording.connection, delivery))

    async def _register(self, connection: Connection, delivery: Submitted) -> Outcome:
        registration = delivery.event.registration
        row = await connection.fetchrow(_SQL["lock_registered"], registration.user)
        content = canonical(registration.model_dump(mode="json"))
        known = await connection.fetchval(_SQL["registration_content"], registration.registration)
        if known is not None:
            return Done() if known == content else Poison("registration-id-used")
        if row is None and delivery.parked is None:
            return Park(OVERTAKEN, "user-unknown")  # it may have overtaken the officer's application
        officer = None if row is None else officer_of(row)
        after = (
            Refused("the officer is not registered")
            if officer is None
            else registered(officer, registration, delivery.appended_at)
        )
        if isinstance(after, Refused):
            log.warning("device refused", registration=str(registration.registration), detail=after.detail)
            refusal = ApplicationRefused(
                application=registration.registration, user=registration.user, stage=STAGE, detail=after.detail
            )
            return Done((Emit(self._routes.application_refused, refusal),))
        await connection.execute(_SQL["put_registration"], registration.registration, registration.user, content)
        if after == officer:
            return Done()
        assert after.device is not None
        device = after.device.model_dump_json()
        await connection.execute(_SQL["put_device"], after.user_id, after.version, device)
        log.info("device registered", registration=str(registration.registration), version=after.version)
        return Done((Emit(self._routes.user, user_state(after)),))
