"""``fac run``: the daemon."""

import sys
from typing import Annotated

import typer
from pydantic import SecretStr

from fac_stream.commands.options import ConfigFile
from fac_stream.config import Config, FileSource, MicrophoneSource, SourceConfig
from fac_stream.config_file import load
from fac_stream.config_systems import RawEncoding, StdinSource, UrlSource
from fac_stream.errors import ConfigError, SourceError


def run(
    *,
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Play a call that turns synthetic; needs Asterisk's announcements and espeak-ng."
        ),
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(help="Listen to a stream: RTSP, HTTP, Icecast, an SDP file. In quotes.", metavar="URL"),
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Listen to raw sound of one channel on standard input.")
    ] = False,
    rate: Annotated[
        int, typer.Option(help="Hertz of --stdin.", min=4000, max=192_000, metavar="HZ")
    ] = 16_000,
    encoding: Annotated[RawEncoding, typer.Option(help="Of --stdin.")] = "pcm_s16le",
    no_mic: Annotated[bool, typer.Option("--no-mic", help="Leave the microphone alone.")] = False,
) -> None:
    """Run the daemon: calls in, verdicts out.

    It serves the dashboard, the HTTP API and the events on one port. Without --config, --demo, --url and
    --stdin the default microphone is a call, where there is one.
    """
    settings = load(config, server__host=host, server__port=port)
    if demo:
        settings = _with_demo(settings)
    if url is not None:
        settings = _with(settings, UrlSource(type="url", url=SecretStr(url)))
    if stdin:
        if sys.stdin.isatty():
            raise ConfigError(
                "standard input is a terminal: pipe sound into it, as in ffmpeg … | fac run --stdin"
            )
        settings = _with(settings, StdinSource(type="stdin", sample_rate=rate, encoding=encoding))
    if config is None and not settings.sources and not no_mic:
        settings = _with_microphone(settings)
    from fac_stream import app

    app.run(settings)


def _with_demo(settings: Config) -> Config:
    from training.demo import build_demo_call, demo_folder

    typer.echo("Making the demo call …", err=True)
    source = FileSource(type="file", path=build_demo_call(demo_folder()), repeat=True, call_id="demo")
    return _with(settings, source)


def _with_microphone(settings: Config) -> Config:
    from fac_stream.sources.devices import list_devices

    try:
        device = list_devices().choose(None)
    except SourceError as error:
        typer.echo(f"Serving without a microphone: {error}", err=True)
        return settings
    typer.echo(f"Listening to the microphone {device.name!r}", err=True)
    return _with(settings, MicrophoneSource(type="microphone"))


def _with(settings: Config, source: SourceConfig) -> Config:
    return settings.model_copy(update={"sources": [*settings.sources, source]})
