"""iGFMAS, on the host, and a Pukal on its way, as on the embedded stack."""

from typing import cast

import pytest

from tests.faults.conftest import new_pukal, pukal
from tests.support.chain import client, officers
from tests.support.containers import InContainers
from tests.support.stack import Stack

__all__ = ["client", "new_pukal", "officers", "pukal"]


@pytest.fixture
def containers(full_stack: Stack) -> InContainers:
    """The stack, with what only containers have."""
    return cast("InContainers", full_stack)
