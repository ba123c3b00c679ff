"""What becomes of an officer: by an application, and by a certificate."""

from dataclasses import replace
from uuid import uuid4

import pytest

from libs.contracts.enrolment import credential_id_of
from services.enrolment.registration import Officer, Refused, apply, certified, user_state
from tests.support.applications import application, token_application
from tests.support.requests import certificate_state

APPLICATION = application("800101145566")
NEW = Officer("800101145566", 0, "", "", "", None, live=False, medium="roaming-otp")
APPLIED = replace(NEW, version=1, name=APPLICATION.name, email=APPLICATION.email, office=APPLICATION.office)
CERTIFIED = replace(APPLIED, version=2, credential_id=credential_id_of(APPLICATION), live=True)


def certificate(status="good", **values):
    user = user_state(CERTIFIED)
    return certificate_state(user, status=status, **values)


def test_a_new_officer_is_registered_without_a_credential():
    applied = apply(NEW, APPLICATION)
    assert applied == APPLIED
    assert user_state(applied).credential_id is None
    assert (user_state(applied).medium, user_state(applied).channels) == ("roaming-otp", ("e-mail",))


def test_the_certificate_gives_the_officer_its_credential():
    assert certified(APPLIED, APPLICATION, certificate(), is_new=True) == CERTIFIED


def test_an_officer_with_a_live_certificate_gets_no_second_one():
    assert isinstance(apply(CERTIFIED, application(CERTIFIED.user_id)), Refused)


def test_news_that_says_nothing_new_raises_no_version():
    assert certified(CERTIFIED, APPLICATION, certificate(), is_new=True) == CERTIFIED


def test_a_revoked_credential_stays_the_officers():
    """So that the answer to a request is "certificate revoked" and not "no certificate"."""
    after = certified(CERTIFIED, APPLICATION, certificate("revoked", version=2), is_new=False)
    assert after == replace(CERTIFIED, live=False)


def test_after_revocation_an_officer_may_apply_again_and_keeps_the_old_credential_until_the_new_one_is_there():
    ended = replace(CERTIFIED, live=False)
    anew = application(ended.user_id, email="baru@anm.example")
    applied = apply(ended, anew)
    assert isinstance(applied, Officer)
    assert (applied.version, applied.credential_id, applied.live) == (3, CERTIFIED.credential_id, False)
    after = certified(applied, anew, certificate(credential_id=credential_id_of(anew)), is_new=True)
    assert (after.version, after.credential_id, after.live) == (4, credential_id_of(anew), True)


def test_revocation_of_an_older_credential_leaves_the_newer_alone():
    other = certificate("revoked", version=2, credential_id=uuid4())
    assert certified(CERTIFIED, APPLICATION, other, is_new=False) == CERTIFIED


def test_the_certificate_brings_what_was_confirmed_for_it_not_what_another_application_said():
    """An address that was never certified together with the key must not receive its codes."""
    other = apply(APPLIED, application(APPLIED.user_id, email="lain@anm.example"))
    assert isinstance(other, Officer)
    after = certified(other, APPLICATION, certificate(), is_new=True)
    assert after.email == APPLICATION.email


@pytest.mark.parametrize("status", ["good", "suspended"])
def test_a_suspension_does_not_open_the_way_for_a_second_certificate(status):
    assert certified(CERTIFIED, APPLICATION, certificate(status, version=3), is_new=False).live


def test_an_officer_may_move_to_the_other_medium_and_its_certificate_takes_the_place_of_the_old():
    """I-26."""
    moving = token_application(CERTIFIED.user_id)
    applied = apply(CERTIFIED, moving)
    assert isinstance(applied, Officer)
    still = user_state(applied)
    assert (still.medium, still.channels, still.credential_id) == ("roaming-otp", ("e-mail",), CERTIFIED.credential_id)
    moved = certified(applied, moving, certificate(medium="token", credential_id=credential_id_of(moving)), is_new=True)
    there = user_state(moved)
    assert (there.medium, there.channels, there.credential_id) == ("token", (), credential_id_of(moving))
    assert isinstance(apply(moved, token_application(CERTIFIED.user_id)), Refused)
    back = application(CERTIFIED.user_id)
    again = apply(moved, back)
    assert isinstance(again, Officer)
    returned = certified(again, back, certificate(credential_id=credential_id_of(back)), is_new=True)
    assert user_state(returned).model_dump(include={"medium", "channels", "credential_id"}) == {
        "medium": "roaming-otp",
        "channels": ("e-mail",),
        "credential_id": credential_id_of(back),
    }


def test_the_old_certificate_revoked_after_the_move_takes_nothing_from_the_new():
    moving = token_application(CERTIFIED.user_id)
    moved = certified(
        CERTIFIED, moving, certificate(medium="token", credential_id=credential_id_of(moving)), is_new=True
    )
    assert certified(moved, APPLICATION, certificate("revoked", version=2), is_new=False) == moved


@pytest.mark.parametrize("status", ["suspended", "good"])
def test_news_of_the_old_certificate_does_not_bring_back_who_moved_away_from_it(status):
    """I-53: a suspension that is lifted gives the right to sign to whoever had it, and to nobody else."""
    moving = token_application(CERTIFIED.user_id)
    theirs = certificate(medium="token", credential_id=credential_id_of(moving))
    moved = certified(CERTIFIED, moving, theirs, is_new=True)
    assert certified(moved, APPLICATION, certificate(status, version=3), is_new=False) == moved


def test_an_officer_with_a_revoked_certificate_keeps_its_medium_until_the_new_certificate_is_there():
    """So that the answer stays "certificate revoked" and is not "certificate mismatch"."""
    applied = apply(replace(CERTIFIED, live=False), token_application(CERTIFIED.user_id))
    assert isinstance(applied, Officer)
    assert user_state(applied).medium == "roaming-otp"


def test_a_new_officer_who_applies_with_a_token_is_registered_with_it():
    applied = apply(NEW, token_application(NEW.user_id))
    assert isinstance(applied, Officer)
    assert (user_state(applied).medium, user_state(applied).channels) == ("token", ())
