"""What years would bring, put straight into the tables: officers, posted documents, revocations. Stated in the report.

Rows are copies of a real one with keys of their own, so that they are as large as real ones. Nothing of it can sign.
"""

from tests.support.chain import Client

KNOWING_USERS = ("medium_lookup", "otp_dispatch", "hsm_signer", "crl_verifier", "gateway")
KNOWING_CERTIFICATES = ("medium_lookup", "hsm_signer", "crl_verifier", "posting", "gateway")
"""Whose copy of `gpki.user.v1` and `gpki.certificate.v1` has rows; a fill that finds none fails."""

_USERS = """
INSERT INTO {service}.user_state (user_id, version, value)
SELECT 'F' || lpad(n::text, 11, '0'), version,
    convert_to(replace(convert_from(value, 'UTF8'), user_id, 'F' || lpad(n::text, 11, '0')), 'UTF8')
FROM (SELECT * FROM {service}.user_state WHERE user_id = $1) AS real, generate_series(1, $2::integer) AS n
"""

_CERTIFICATES = """
INSERT INTO {service}.certificate_state (credential_id, user_id, version, value, fingerprint)
SELECT gen_random_uuid(), 'F' || lpad(n::text, 11, '0'), version, value, sha256(int8send(n))
FROM (SELECT * FROM {service}.certificate_state WHERE user_id = $1) AS real, generate_series(1, $2::integer) AS n
"""

_CREDENTIALS = """
INSERT INTO hsm_signer.credential (
    credential_id, user_id, algorithm, wrapping_key, wrapped, salt, pepper, memory_kib, iterations, parallelism
)
SELECT gen_random_uuid(), 'F' || lpad(n::text, 11, '0'),
    algorithm, wrapping_key, wrapped, salt, pepper, memory_kib, iterations, parallelism
FROM (SELECT * FROM hsm_signer.credential WHERE user_id = $1) AS real, generate_series(1, $2::integer) AS n
"""

_RECORDS = """
WITH real AS (SELECT * FROM posting.posted_record LIMIT 1),
last AS (SELECT max(position) AS place FROM posting.signing_log),
kept AS (
    INSERT INTO posting.record_content (content_id, bytes)
    SELECT md5('F' || n)::uuid, convert_to(repeat(convert_from(substring(value FOR 256), 'UTF8'), 100), 'UTF8')
    FROM real, generate_series(0, $1::integer / 100) AS n
),
added AS (
    INSERT INTO posting.record (
        record_id, request_id, place, system, document_id, action, user_id, sha256, amount, currency, posted_at,
        content_id, starts, size
    )
    SELECT gen_random_uuid(), md5('F' || n / 1000)::uuid, n % 1000, system, 'F' || n, action, user_id, sha256, amount,
        currency, posted_at, md5('F' || n / 100)::uuid, n % 100 * 256, 256
    FROM real, generate_series(1, $1::integer) AS n
    RETURNING record_id
)
INSERT INTO posting.signing_log (position, leaf_hash, record_id)
SELECT last.place + row_number() OVER (), sha256(uuid_send(record_id)), record_id FROM added, last
"""

_HANDLED = """
INSERT INTO posting.inbox (id, content_hash) SELECT gen_random_uuid(), sha256(int8send(n))
FROM generate_series(1, $1::integer) AS n
"""

_REVOKED = """
INSERT INTO certificate_authority.certificate (
    serial, profile, holder, common_name, organizational_unit, serial_number, public_key, key_id, not_before, not_after,
    crl_url, certificate, ended_at, ended_because, medium, version
)
SELECT substring('\\x10'::bytea || sha256(int8send(n)) FOR 16), profile, gen_random_uuid()::text, common_name,
    organizational_unit, 'F' || n, public_key, encode(sha256(int8send(n)), 'hex'), not_before, not_after, crl_url,
    '\\x00'::bytea, date_trunc('second', now()), 'key_compromise', medium, 2
FROM (SELECT * FROM certificate_authority.certificate WHERE profile = 'officer' AND ended_at IS NULL LIMIT 1) AS real,
    generate_series($1::integer, $2::integer) AS n
"""


async def users(client: Client, real: str, count: int) -> None:
    """So many more officers, like the real one, in every service's copy of the state and in the signer's custody."""
    for service in KNOWING_USERS:
        await _execute(client, _USERS.format(service=service), real, count)
    for service in KNOWING_CERTIFICATES:
        await _execute(client, _CERTIFICATES.format(service=service), real, count)
    await _execute(client, _CREDENTIALS, real, count)


async def posted(client: Client, count: int) -> None:
    """So many more posted documents: record (256 bytes of it), place in the signing log, and posting's inbox."""
    await _execute(client, _RECORDS, count)
    await _execute(client, _HANDLED, count)


async def revoked(client: Client, first: int, last: int) -> None:
    """So many more certificates that are revoked; the authority makes its next CRL of them by itself."""
    await _execute(client, _REVOKED, first, last)
    await settle(client)


async def _execute(client: Client, query: str, *arguments: object) -> None:
    told = await client.database.execute(query, *arguments, timeout=600)
    assert not told.endswith(" 0"), f"nothing to copy: {query.split()[2]}"


async def settle(client: Client) -> None:
    """Have done now what PostgreSQL would do during the measurement."""
    for command in ("VACUUM ANALYZE", "CHECKPOINT"):
        await client.database.execute(command, timeout=600)
