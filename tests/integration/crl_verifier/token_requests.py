"""Token requests as crl_verifier meets them: officers with tokens, resolved requests, and what tokens sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from libs.contracts import topics
from libs.contracts.cancelling import CancelAnswered, CancelRequested
from libs.contracts.manifest import Manifest, SignedManifest
from libs.contracts.reasons import Reason
from libs.contracts.signing import RESERVE_WITHIN, MediumResolved, Signed
from libs.contracts.token_route import TokenSigned
from libs.runtime.clock import utc_now
from tests.integration.crl_verifier.conftest import Verifier
from tests.support.documents import Officer, document, fresh_ids, manifest, officer, sign
from tests.support.requests import user_state
from tests.support.waiting import eventually


@dataclass
class TokenRequest:
    """A request of one officer, with the signatures that the token makes."""

    verifier: Verifier
    officer: Officer
    manifest: Manifest

    @property
    def id(self) -> UUID:
        return self.manifest.header.request_id

    def sign(self, by: Officer | None = None, **changed: Any) -> list[TokenSigned]:
        """Every document, by its officer's token or another's."""
        return [token_signed(event) for event in sign(by or self.officer, self.manifest, **changed)]

    async def give(self, signatures: Sequence[TokenSigned]) -> None:
        """As the gateway publishes them."""
        await self.verifier.wire.send(topics.TOKEN_SIGNED, signatures)

    async def resolve(self, **values: Any) -> None:
        """As medium_lookup does; returns when crl_verifier has it."""
        event = MediumResolved(
            **{
                "request_id": self.id,
                "signed": SignedManifest(manifest=self.manifest, caller_key="ab" * 32, signature=b"the caller's"),
                "requested_at": utc_now(),
                "medium": "token",
                "credential_id": self.officer.credential_id,
                "channels": (),
                **values,
            }
        )
        await self.verifier.wire.send(topics.MEDIUM_RESOLVED, [event])
        if event.medium == "token":
            await eventually(self.kept, "crl_verifier has the request")

    async def kept(self) -> bool:
        """Whether crl_verifier has it."""
        query = "select exists (select 1 from token_request where request_id = $1)"
        return bool(await self.verifier.database.fetchval(query, self.id))

    async def cancel(self, **values: Any) -> CancelRequested:
        """As the gateway publishes it."""
        header = self.manifest.header
        own = {"request_id": self.id, "cancellation": uuid4(), "caller": header.caller, "user": header.user}
        event = CancelRequested.model_validate(own | values)
        await self.verifier.wire.send(topics.CANCEL_REQUESTED, [event])
        return event

    async def answer(self, asked: CancelRequested) -> str:
        """The one answer to an ask."""

        def answers() -> list[str]:
            events = self.verifier.wire.events(topics.CANCEL_ANSWERED, CancelAnswered, self.id)
            return [event.answer for event in events if event.cancellation == asked.cancellation]

        await self.verifier.wire.tap.until(answers, "the answer")
        (answer,) = answers()
        return answer

    async def expire(self, ago: timedelta = RESERVE_WITHIN) -> None:
        """Let its time have run out so long ago, and its timer be due."""
        await self.verifier.database.execute(
            "update token_request set expires_at = now() - $2::interval where request_id = $1", self.id, ago
        )
        await self.verifier.database.execute(
            "update due set at = now() where request_id = $1 and what = 'timer.crl-verifier.expiry'", self.id
        )

    async def timer_waits(self, why: str, at_least: timedelta = timedelta()) -> None:
        """Return when its timer was put off for this reason, for so long."""
        query = "select why = $2 and at > now() + $3::interval from due where request_id = $1 and partition is null"

        async def waits() -> bool:
            return bool(await self.verifier.database.fetchval(query, self.id, why, at_least))

        await self.verifier.wire.tap.until(waits, f"the timer waits: {why}")

    async def settled(self) -> None:
        """Return when all signatures that were given before are handled: more stand behind them in every partition."""
        probe = await token_request(self.verifier, await token_officer(self.verifier), 40)
        signatures = probe.sign()
        await probe.give(signatures)
        await self.verifier.answers(signatures)
        await self.verifier.wire.tap.read()


async def refused_once(request: TokenRequest, reason: Reason) -> list[str]:
    """The documents of the one refusal for this reason."""
    verifier = request.verifier
    await verifier.wire.tap.until(lambda: any(each.reason is reason for each in verifier.rejected(request.id)), reason)
    [event] = [each for each in verifier.rejected(request.id) if each.reason is reason]
    assert (event.stage, event.header, event.safe_to_retry) == ("crl_verifier", request.manifest.header, True)
    return list(event.documents or ())


async def one_waits_and_the_rest_expired(verifier: Verifier, count: int) -> tuple[TokenRequest, list[TokenSigned]]:
    """A request of so many documents, of which the first was signed in time, under a CRL that is stale."""
    request = await token_request(verifier, await token_officer(verifier), count)
    signatures = request.sign()
    await request.give(signatures[:1])
    await verifier.parked(signatures[:1], "crl-stale")
    await request.expire(ago=timedelta())
    assert await refused_once(request, Reason.EXPIRED) == ids(request)[1:]
    return request, signatures


def ids(request: TokenRequest) -> list[str]:
    """Its documents' ids."""
    return [each.id for each in request.manifest.documents]


def token_signed(event: Signed) -> TokenSigned:
    """What a token signed, as the gateway says it."""
    return TokenSigned(**{name: value for name, value in dict(event).items() if name != "authorisation"})


async def token_officer(verifier: Verifier) -> Officer:
    """An officer whose token crl_verifier knows."""
    who = officer(verifier.pki)
    await verifier.tell(who, medium="token")
    await moved(verifier, who, who.credential_id, version=1)
    return who


async def moved(verifier: Verifier, who: Officer, credential_id: UUID, *, version: int) -> None:
    """Publish an officer's credential, and wait until crl_verifier has it."""
    state = user_state(who.user, version=version, medium="token", channels=(), credential_id=credential_id)
    await verifier.wire.send(topics.USER, [state])
    query = "select version from user_state where user_id = $1"

    async def known() -> bool:
        return await verifier.database.fetchval(query, who.user) == version

    await eventually(known, "the user's state known")


async def token_request(verifier: Verifier, who: Officer, count: int, *, resolved: bool = True) -> TokenRequest:
    """A request of so many documents, which crl_verifier has unless it is said otherwise."""
    request = TokenRequest(verifier, who, manifest(who.user, [document(each) for each in fresh_ids(count)]))
    if resolved:
        await request.resolve()
    return request
