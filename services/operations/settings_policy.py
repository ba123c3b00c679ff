"""`gpki policy`: the settings of services that two security officers hold."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from libs.contracts.settings_policy import SettingsPolicy, SignedSettingsPolicy, settings_policy_signature_input
from libs.crypto.errors import CryptoError
from libs.runtime.secret_files import publish
from services.operations.people import KeyFile, added, own_key, signature
from services.operations.terminal import fail

commands = typer.Typer(no_args_is_help=True, help="The settings of services that two security officers hold.")

_EITHER: TypeAdapter[SignedSettingsPolicy | SettingsPolicy] = TypeAdapter(SignedSettingsPolicy | SettingsPolicy)


@commands.callback()
def _policy() -> None:
    """A group, though it has one command yet."""


@commands.command()
def approve(
    file: Annotated[Path, typer.Argument(help="the draft, or what the other security officer has signed")],
    key: KeyFile,
) -> None:
    """Sign, as a security officer, that services run with these settings. Another one must sign the same."""
    signer = own_key(key)
    try:
        found = _EITHER.validate_json(file.read_bytes())
        signed = found if isinstance(found, SignedSettingsPolicy) else SignedSettingsPolicy(policy=found)
        mine = signature(signer, settings_policy_signature_input(signed.policy))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except (ValidationError, CryptoError):
        fail(f"{file} is no policy of settings: docs/runbook.md shows one")
    signed = SignedSettingsPolicy(policy=signed.policy, signatures=added(signed.signatures, mine))
    publish(file, signed.model_dump_json(indent=1).encode())
    typer.echo(f"policy {signed.policy.version}; what it does not name is held at its default")
    for service, settings in sorted(signed.policy.settings.items()):
        for name, value in sorted(settings.items()):
            typer.echo(f"{service}  {name} = {to_json(value).decode()}")
    typer.echo(f"signed by {len(signed.signatures)} keys: {file}")
    typer.echo("each service counts those of security officers: two different people")
