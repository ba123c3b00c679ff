"""One token directory per test module; one Hsm per test, since a process holds only one."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from libs.hsm.hsm import Hsm
from libs.hsm.provision import provision_token
from tests.integration.hsm.softhsm import LABEL, MODULE, SO_PIN, USER_PIN, SoftHsm


@pytest.fixture(scope="module")
def soft_hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    created = SoftHsm.create(tmp_path_factory.mktemp("softhsm") / "hsm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "SOFTHSM2_CONF", created.conf)
        provision_token(MODULE, LABEL, SO_PIN, USER_PIN)
        yield created


@pytest.fixture
async def hsm(soft_hsm: SoftHsm) -> AsyncIterator[Hsm]:
    opened = await Hsm.open(MODULE, LABEL, USER_PIN)
    try:
        yield opened
    finally:
        await opened.aclose()
