"""Fixtures of this room: one PKI per session, because keys are slow to make."""

import pytest

from tests.support.pki import Pki, shared_rsa_key


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Both trees, valid around EPOCH; the officers' with RSA keys, as the authority's are."""
    return Pki(root_key=shared_rsa_key(3072), issuing_key=shared_rsa_key())
