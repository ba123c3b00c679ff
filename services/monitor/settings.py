"""What monitor is told from outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from libs.bus.signing import KeySettings

Wait = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=1))]


class InitSettings(KeySettings):
    """What `init` is told."""

    service: Literal["monitor"]
    pki_dir: Path = Field(description="Public keys: `log.vkey` of the signing log, `witness.vkey` of its witness here.")
    witness_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")] = Field(
        default="gpki-monitor", description="Name of the witness's key; it stands beside each of its countersignatures."
    )


class Settings(InitSettings):
    """Settings of monitor."""

    witness_key: SecretStr = Field(description="File `witness_key`: the Ed25519 key, in PEM, that countersigns.")
    checkpoint_late_after: Wait = Field(
        default=timedelta(minutes=2),
        description="Age at which a document that was told as posted and is in no checkpoint that holds is an alarm. "
        "posting signs one every few seconds while its log grows; an HSM or a broker that is restarted takes half a "
        "minute.",
    )
    write_every: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(seconds=30))] = Field(
        default=timedelta(seconds=2),
        description="For how long what was read is gathered before it is written. Nobody waits for the monitor, and a "
        "write costs what its round trips cost: most documents are signed and posted within one of these.",
    )
    look_every: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=10))] = Field(
        default=timedelta(seconds=10),
        description="Between two looks at what is open, and at whether a day is over. An alarm may come so much later.",
    )
    lag_every: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(minutes=10))] = Field(
        default=timedelta(seconds=30),
        description="Between two looks at how far consumer groups are behind: a question to the broker for each group.",
    )
    signed_not_posted_after: Wait = Field(
        default=timedelta(minutes=5),
        description="Age at which a document that is signed and neither posted nor rejected is an alarm. The way takes "
        "less than a second, and up to a minute when a `peraku` waits for its `sah`; a broker that is restarted, half "
        "a minute. What waits for a CRL for longer shall be an alarm.",
    )
    token_signed_not_posted_after: Wait = Field(
        default=timedelta(minutes=10),
        description="The same of a document that an officer's token signed. An answer takes as long, but a signature "
        "that comes when the request's 8 h are over is answered by the request's end, 5 min later: longer than that.",
    )
    posted_not_signed_after: Wait = Field(
        default=timedelta(minutes=1),
        description="Age at which a document that is posted and was never signed is an alarm. `signed` comes before "
        "`posted`, so that only reading can be behind, and an alarm waits for that by itself.",
    )
    daily_file_dir: Path = Field(
        description="Directory of the daily files, in which each caller has one of its own; made if it is not there. "
        "No default: somebody fetches them there."
    )
    daily_file_after: Wait = Field(
        default=timedelta(minutes=15),
        description="How long after midnight (Asia/Kuala_Lumpur) a day's file is made. What posting completed before "
        "midnight and could publish only after it comes in the file of the next day once this one is made.",
    )
    keep: Annotated[timedelta, Field(ge=timedelta(days=28), le=timedelta(days=3650))] = Field(
        default=timedelta(days=35),
        description="How long a settled document is kept after the day in whose file it stands. Longer than topics "
        "keep (14 days, and up to a week more until a segment is closed): what is read again must be known.",
    )
