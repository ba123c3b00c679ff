"""Fixtures of this room: one PKI per session, because keys are slow to make."""

import pytest
from hypothesis import settings

from tests.support.pki import Pki

# Time is no guarantee of this room, and a busy machine must not fail a test.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def pki() -> Pki:
    """Both trees, valid around EPOCH."""
    return Pki()
