"""What posting kept is enough to check a signature with nobody's code but OpenSSL's."""

import json
import shlex
import subprocess
from datetime import timedelta

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from libs.contracts import topics
from libs.contracts.record import evidence
from libs.crypto.merkle import leaf_hash
from tests.integration.posting.conftest import Posting
from tests.support.documents import content, fresh_ids, signed, verified


def verify(folder, command: str) -> bool:
    return (
        subprocess.run(shlex.split(command), cwd=folder, capture_output=True, check=False, timeout=30).returncode == 0
    )


async def test_evidence_passes_openssl_and_one_changed_byte_fails(posting: Posting, tmp_path):
    ids = fresh_ids(2)
    documents = verified(posting.pki, signed(await posting.officer(), ids))
    await posting.wire.send(topics.VERIFIED, documents)
    request = documents[0].request_id
    await posting.completed(request)
    [posted] = [event for event in posting.posted(request) if event.document_id == ids[1]]
    written = evidence(documents[1], posted)

    stored, leaf, position = await posting.row(
        "select r.value, l.leaf_hash, l.position from posted_record r join signing_log l using (record_id) "
        "where r.record_id = $1",
        posted.record_id,
    )
    own = {"log_position", "leaf_hash", "openssl"}
    assert rfc8785.dumps({name: value for name, value in written.items() if name not in own}) == stored
    assert leaf_hash(stored) == leaf == bytes.fromhex(written["leaf_hash"])
    assert position == written["log_position"]

    # A CRL that has long run out when the auditor looks: -attime keeps the check possible.
    crl = posting.pki.crl(
        this_update=posting.pki.now - timedelta(minutes=1), next_update=posting.pki.now + timedelta(seconds=30)
    )
    (tmp_path / "record.json").write_text(json.dumps(written))
    (tmp_path / "signature.p7s").write_bytes(documents[1].cms)
    (tmp_path / "trust.pem").write_bytes(posting.pki.trust_pem(crl))
    (tmp_path / "document").write_bytes(content(ids[1]))
    assert verify(tmp_path, written["openssl"])
    (tmp_path / "document").write_bytes(content(ids[1]).replace(b"B", b"b"))
    assert not verify(tmp_path, written["openssl"])
    (tmp_path / "document").write_bytes(content(ids[1]))
    (tmp_path / "trust.pem").write_bytes(
        posting.pki.root.certificate.public_bytes(Encoding.PEM) + x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM)
    )
    assert verify(tmp_path, written["openssl"])  # the chain is in the CMS too
