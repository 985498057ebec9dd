"""The commands `lethe verify` and `lethe keygen`; as in `lethe.cli`, what is heavy is imported where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lethe


def verify(
    audit: Annotated[Path, typer.Argument(help="audit.json; its signature lies beside it as audit.json.sig.")],
    key: Annotated[Path | None, typer.Option(help="The signer's public key; without it nobody vouches for it.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of the report that was signed with it.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of the audited model, whose weights are compared.")] = None,
) -> None:
    """Check a signed audit; exit code 1 where a byte, a field, a file or the model is not what was signed."""
    found = lethe.verify(audit, key=key, report=report, model=model)
    for fault in found.faults:
        typer.echo(f"does not hold: {fault}", err=True)
    if found.faults:
        raise typer.Exit(1)
    typer.echo(f"Holds. Signed with the key {found.key}.")
    for note in found.notes:
        typer.echo(f"Not checked: {note}.", err=True)


def keygen(
    out: Annotated[Path, typer.Argument(help="File of the private key; the public one is written to OUT.pub.")],
) -> None:
    """Make a key pair for signing audits; encrypted where LETHE_KEY_PASSPHRASE is set or a passphrase is typed."""
    from lethe.report.keys import ask_passphrase, fingerprint, make_keys, read_public

    private, public = make_keys(out, ask_passphrase("Passphrase (empty: none): ", new=True))
    typer.echo(f"Private key, for you alone: {private}\nPublic key, for everybody: {public}")
    typer.echo(f"Its fingerprint: {fingerprint(read_public(public))}")
