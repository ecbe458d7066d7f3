"""``fac devices``: what can be recorded here."""

import json
from dataclasses import asdict

import typer

from fac_stream.commands.options import AsJson


def devices(*, as_json: AsJson = False) -> None:
    """List what can be recorded here.

    That is microphones, and monitors of what the speakers play: the other side of a softphone's
    call. A name, or a part of it that no other device has, goes into the configuration as device.
    """
    from fac_stream.sources.devices import list_devices

    known = list_devices()
    for problem in known.problems:
        typer.echo(f"fac: {problem}", err=True)
    if not known.found:
        typer.echo("There is nothing to record on this machine.", err=True)
    width = max((len(device.name) for device in known.found), default=0)
    for device in known.found:
        if as_json:
            typer.echo(json.dumps(asdict(device)))
            continue
        kind = "monitor" if device.monitor else "input"
        notes = ", ".join(filter(None, [device.description, "default" if device.default else ""]))
        rate = f"{device.sample_rate} Hz"
        line = f"{device.name:<{width}}  {kind:<7}  {device.backend:<9}  {rate:>9}  {notes}"
        typer.echo(line.rstrip())
