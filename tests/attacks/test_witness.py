"""The log's own key signs another log than `posted` told: its witness countersigns it only without both checks."""

import pytest

from libs.contracts import topics
from libs.crypto.merkle import Frontier, tree_root
from services.monitor import witness
from tests.integration.monitor.conftest import Watch, watch
from tests.integration.monitor.test_witness import OTHER, all_of, countersigned, said, seen, told
from tests.support.tap import Tap

__all__ = ["seen", "watch"]

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("switched", ["nothing", "root", "proof", "both"])
async def test_a_fork_of_the_log_is_countersigned_only_without_root_and_proof(
    watch: Watch, seen: Tap, monkeypatch: pytest.MonkeyPatch, switched: str
) -> None:
    """I-43: who has posting's HSM and its tables; between two sizes of the true log a third is put of another."""
    forked, true = tree_root(OTHER[:10]), Frontier.root
    if switched in {"root", "both"}:
        monkeypatch.setattr(Frontier, "root", lambda self: forked if self.size == 10 else true(self))
    if switched in {"proof", "both"}:
        monkeypatch.setattr(witness, "is_consistent", lambda *_: True)
    await watch.send(topics.POSTED, told(0, 15))
    await watch.send(topics.LOG_CHECKPOINT, [said(5, 0), said(10, 5, leaves=OTHER), said(15, 10)])
    async with watch.running():
        await countersigned(seen, 10 if switched == "both" else 15)
    assert {one.root for one in all_of(seen) if one.size == 10} == ({forked} if switched == "both" else set())
