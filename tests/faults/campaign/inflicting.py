"""The faults, by name."""

from typing import Final

from deploy.native.layout import BROKERS, SERVICES
from libs.contracts.reasons import Reason
from tests.faults.campaign import clocks, database, disks, hsm, poison, processes, relay, retention, revocation
from tests.faults.campaign.fault import AWAY, Fault
from tests.faults.campaign.stacks import COMPRESSED, SMALL_DISKS, THREE_BROKERS

KILLS: Final = 3
INFRASTRUCTURE: Final = ("kafka", "postgres")
RECORDS_MAILS: Final = ("otp_dispatch", "postgres")
"""Who stands between the relay that took a mail and the record of that; to stop it in order may be enough."""

SLOW: Final = {"seconds": 30.0}
LATER: Final = {"data": "451 4.3.0 Try later"}

FAULTS: Final = {
    fault.name: fault
    for fault in (
        *(
            Fault(f"kill-{part}", processes.killed(part, KILLS), mails_again=part in RECORDS_MAILS)
            for part in (*SERVICES, *INFRASTRUCTURE)
        ),
        *(
            Fault(f"freeze-{part}", processes.frozen(part), mails_again=part in RECORDS_MAILS)
            for part in (*SERVICES, *INFRASTRUCTURE)
        ),
        Fault("postgres-refuses", database.postgres_refuses, mails_again=True),
        Fault("hsm-away", hsm.away()),
        Fault("hsm-errors", hsm.errors),
        Fault("hsm-away-15-min", hsm.away_for_long, hsm.KEPT_TOO_LONG, COMPRESSED),
        Fault("smtp-down", relay.relay_down, mails_again=True),
        Fault("smtp-slow", relay.relay_answers(SLOW, relay.slow, lasting=20.0)),
        Fault("smtp-4xx", relay.relay_answers(LATER, relay.held_up, lasting=AWAY)),
        Fault(
            "smtp-5xx",
            relay.relay_answers({"data": "554 5.7.1 Refused"}, relay.refused, lasting=5.0),
            frozenset({Reason.OTP_UNDELIVERABLE}),
        ),
        Fault("smtp-one-mailbox", relay.one_mailbox({"rcpt": "450 4.2.1 Mailbox busy"}, lasting=AWAY)),
        Fault("smtp-one-mailbox-slow", relay.one_mailbox(SLOW, lasting=20.0)),
        Fault("crl-stale", revocation.server_down, stack=COMPRESSED),
        Fault("rolling-restart", processes.rolling_restart, mails_again=True),
        Fault("rebalance-storm", processes.rebalance_storm),
        Fault("retention", retention.retention_passes, mails_again=True),
        Fault("poison", poison.poison_everywhere),
        Fault("disk-full-kafka", disks.under_kafka, stack=SMALL_DISKS),
        Fault("disk-full-postgres", disks.under_postgres, stack=SMALL_DISKS, mails_again=True),
        *(
            Fault(f"clock-{way}-{service}", clocks.wrong(service, offset), mails_again=service in RECORDS_MAILS)
            for way, offset in (("ahead", "+1h"), ("behind", "-1h"))
            for service in SERVICES
        ),
        *(Fault(f"kill-one-of-three-{broker}", processes.killed(broker, 1), stack=THREE_BROKERS) for broker in BROKERS),
        Fault("freeze-one-of-three", processes.frozen(BROKERS[1]), stack=THREE_BROKERS),
    )
}
