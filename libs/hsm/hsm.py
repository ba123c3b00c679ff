"""The HSM for asyncio: one dedicated thread per process owns the PKCS#11 module, the session and every handle."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from pkcs11 import ObjectClass
from pydantic import SecretStr

from libs.hsm import keys, user_keys
from libs.hsm.adapters import HsmPrivateKey
from libs.hsm.connection import Connection
from libs.hsm.errors import HsmRefused, HsmUnavailable
from libs.hsm.module import claim_module, release_module
from libs.hsm.token_session import TokenSession
from libs.hsm.user_keys import NewUserKey, UserKeyAlgorithm

__all__ = ["CALL_SECONDS", "CLOSE_SECONDS", "QUEUE_LIMIT", "Hsm"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Job = tuple[Future[Any], Callable[[], Any]]

QUEUE_LIMIT: Final = 64
"""Calls in the thread's queue, the running one included; further callers wait, so that memory is bounded."""

CALL_SECONDS: Final = 30.0
"""Longest a caller waits, queue included; a network HSM that hangs then counts as unavailable."""

CLOSE_SECONDS: Final = 5.0
"""Longest that `aclose` waits for calls already queued."""


class Hsm:
    """Async access to one token. First in, first out; calls of any number of tasks never overlap in the module.

    Threads do not make python-pkcs11 faster, they crash it: for more speed run more processes, each with an Hsm.
    Never fork a process that holds one (PKCS#11 state does not survive a fork): spawn.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(QUEUE_LIMIT)
        self._closed = False
        # A daemon: a call that hangs inside the module must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="pkcs11", daemon=True)

    @classmethod
    async def open(cls, module_path: str, token_label: str, user_pin: SecretStr | str) -> Self:
        """Claim PKCS#11 for this process, start the thread, log in.

        Raises HsmUnavailable, HsmLoginRefused (after one login, not more), RuntimeError if this process has an Hsm.
        """
        pin = user_pin if isinstance(user_pin, SecretStr) else SecretStr(user_pin)
        claim_module()
        hsm = cls(Connection(module_path=module_path, token_label=token_label, user_pin=pin))
        hsm._thread.start()
        try:
            await hsm.run(_nothing)
        except BaseException:
            await hsm.aclose()
            raise
        return hsm

    async def aclose(self) -> None:
        """Finish the queue, log out, end the thread; bounded by CLOSE_SECONDS. May be called twice."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    async def run(
        self, operation: Callable[Concatenate[TokenSession, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run a blocking `operation(session, ...)` on the HSM's thread.

        It must be safe to repeat (it runs again, once, when the session broke) and must let no handle out. A caller
        that is cancelled leaves a call that has begun to end by itself, and one that has not begun never begins.

        Raises HsmUnavailable (could not ask: broken beyond repair, silent for CALL_SECONDS, closed), HsmRefused (the
        answer is no), and whatever else `operation` raises.
        """
        try:
            async with asyncio.timeout(CALL_SECONDS), self._room:
                if self._closed:
                    raise HsmUnavailable("the HSM is closed")
                done: Future[_T] = Future()
                self._jobs.put((done, lambda: self._connection.call(operation, *args, **kwargs)))
                return await asyncio.wrap_future(done)
        except TimeoutError as error:
            raise HsmUnavailable(f"the HSM did not answer within {CALL_SECONDS:.0f} s") from error

    async def ensure_mac_key(self, label: str) -> None:
        """See libs.hsm.keys.ensure_mac_key."""
        await self.run(keys.ensure_mac_key, label)

    async def ensure_rsa_key(self, label: str, bits: int) -> None:
        """See libs.hsm.keys.ensure_rsa_key."""
        await self.run(keys.ensure_rsa_key, label, bits)

    async def ensure_p256_key(self, label: str) -> None:
        """See libs.hsm.keys.ensure_p256_key."""
        await self.run(keys.ensure_p256_key, label)

    async def destroy_secret_key(self, label: str) -> bool:
        """See libs.hsm.keys.destroy_secret_key."""
        return await self.run(keys.destroy_secret_key, label)

    async def has_secret_key(self, label: str) -> bool:
        """Whether the token has a wrapping or MAC key of this label. Raises HsmUnavailable."""
        try:
            await self.run(keys.find_secret_key, label)
        except HsmRefused:
            return False
        return True

    async def hmac_sha256(self, label: str, data: bytes) -> bytes:
        """See libs.hsm.keys.hmac_sha256."""
        return await self.run(keys.hmac_sha256, label, data)

    async def with_private_key(self, label: str, use: Callable[[HsmPrivateKey], _T]) -> _T:
        """`use(key)` on the HSM's thread, for `cryptography`'s builders: `lambda key: builder.sign(key, SHA256())`."""
        return await self.run(_use_private_key, label, use)

    async def generate_user_key(
        self, wrapping_label: str, algorithm: UserKeyAlgorithm, certify: Callable[[HsmPrivateKey], bytes]
    ) -> NewUserKey:
        """See libs.hsm.user_keys.generate_user_key; `certify` runs on the HSM's thread."""
        return await self.run(user_keys.generate_user_key, wrapping_label, algorithm, certify)

    async def sign_many(
        self, wrapping_label: str, algorithm: UserKeyAlgorithm, wrapped: bytes, messages: Sequence[bytes]
    ) -> list[bytes]:
        """See libs.hsm.user_keys.sign_many; give no more than a slice, since others wait while it signs."""
        return await self.run(user_keys.sign_many, wrapping_label, algorithm, wrapped, messages)

    async def move_user_key(
        self, old_label: str, new_label: str, algorithm: UserKeyAlgorithm, wrapped: bytes
    ) -> bytes | None:
        """See libs.hsm.user_keys.move_user_key."""
        return await self.run(user_keys.move_user_key, old_label, new_label, algorithm, wrapped)

    async def attributes(self, object_class: ObjectClass, label: str) -> dict[str, Any]:
        """See libs.hsm.keys.attributes."""
        return await self.run(keys.attributes, object_class, label)

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                done, call = job
                if done.set_running_or_notify_cancel():
                    try:
                        result = call()
                    except BaseException as error:  # noqa: BLE001 - belongs to the caller; the thread lives on
                        done.set_exception(error)
                    else:
                        done.set_result(result)
                del job, done  # hold no blob, signature or exception while waiting for the next call
        finally:
            self._connection.close()
            release_module()


def _nothing(_session: TokenSession) -> None:
    """Opening the session is the whole point."""


def _use_private_key(session: TokenSession, label: str, use: Callable[[HsmPrivateKey], _T]) -> _T:
    return use(keys.load_private_key(session, label))
