"""The officer's mailbox: the code that goes with the reference on the screen."""

from pathlib import Path

import pytest

from services.igfmas.mailbox import Mailbox, NoMail

ADDRESS = "nor.azizah@anm.example"


def deliver(folder: Path, number: int, otp: str, reference: str, address: str = ADDRESS) -> None:
    (folder / f"{number:020d}-1-{number}.eml").write_bytes(
        f"X-Envelope-From: gpki@anm.example\r\nX-Envelope-To: {address}\r\nSubject: GPKI\r\n\r\n"
        f"{otp} ialah OTP anda. Rujukan {reference}.\r\n".encode()
    )


async def test_of_two_messages_with_one_reference_the_newest_counts(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    deliver(tmp_path, 1, "111111", "K7P")
    assert await mailbox.otp(ADDRESS, "K7P", seconds=1) == "111111"
    deliver(tmp_path, 2, "222222", "K7P")
    assert await mailbox.otp(ADDRESS, "K7P", seconds=1) == "222222"
    assert await mailbox.otp(ADDRESS, "K7P", seconds=1) == "222222"


async def test_a_message_of_another_officer_or_with_another_reference_is_not_it(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    deliver(tmp_path, 1, "111111", "K7P", "kamarul@anm.example")
    deliver(tmp_path, 2, "222222", "M2X")
    with pytest.raises(NoMail, match="K7P"):
        await mailbox.otp(ADDRESS, "K7P", seconds=0)


async def test_what_was_there_before_is_not_looked_at(tmp_path: Path) -> None:
    deliver(tmp_path, 1, "111111", "K7P")
    with pytest.raises(NoMail):
        await Mailbox(tmp_path).otp(ADDRESS, "K7P", seconds=0)
