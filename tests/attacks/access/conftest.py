"""Services in this process, so that a test can take a defence away: an attack that then succeeds can fail."""

from tests.integration.enrolment.conftest import office
from tests.integration.gateway.conftest import door, pki
from tests.integration.medium_lookup.conftest import lookup

__all__ = ["door", "lookup", "office", "pki"]
