import re
from pathlib import Path

import av
import numpy as np
import pytest

from fac_stream.audio.media import open_media
from fac_stream.commands.examinations import DECODERS
from fac_stream.commands.scan import SUFFIXES

PAGE = Path(__file__).resolve().parents[2] / "web" / "index.html"
ENCODERS = {
    "3gp": ("3gp", "aac"),
    "aac": ("adts", "aac"),
    "ac3": ("ac3", "ac3"),
    "aif": ("aiff", "pcm_s16be"),
    "aiff": ("aiff", "pcm_s16be"),
    "amr": ("amr", "libopencore_amrnb"),
    "au": ("au", "pcm_mulaw"),
    "avi": ("avi", "mp2"),
    "caf": ("caf", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "m4a": ("ipod", "aac"),
    "m4b": ("ipod", "aac"),
    "mka": ("matroska", "aac"),
    "mkv": ("matroska", "aac"),
    "mov": ("mov", "aac"),
    "mp2": ("mp2", "mp2"),
    "mp3": ("mp3", "libmp3lame"),
    "mp4": ("mp4", "aac"),
    "mpga": ("mp3", "libmp3lame"),
    "oga": ("oga", "libopus"),
    "ogg": ("ogg", "libopus"),
    "opus": ("opus", "libopus"),
    "w64": ("w64", "pcm_s16le"),
    "wav": ("wav", "pcm_alaw"),
    "webm": ("webm", "libopus"),
    "wma": ("asf", "wmav2"),
    "wv": ("wv", "wavpack"),
}
"""Suffix → container and codec that write such a file."""
UNWRITTEN = {"spx"}
"""FFmpeg reads Speex in Ogg, and writes none."""


def write(path, container, codec):
    """One second of a tone."""
    rate = 8_000 if "amr" in codec else 48_000
    tone = (8_000 * np.sin(np.arange(rate) * 0.1)).astype(np.int16)[None]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        if codec == "wmav2":  # its default is none that it takes
            stream.bit_rate = 32_000
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)


@pytest.mark.parametrize("suffix", sorted(ENCODERS))
def test_what_a_folder_is_searched_for_can_be_opened(tmp_path, suffix):
    """No suffix is taken whose files always fail."""
    path = tmp_path / f"tone.{suffix}"
    write(path, *ENCODERS[suffix])

    with open_media(path) as media:
        samples = np.concatenate(list(media.blocks()))

    assert len(samples) / media.sample_rate == pytest.approx(1.0, abs=0.15)
    assert np.abs(samples).max() > 0.1


def test_no_suffix_is_left_out_above():
    """A suffix that is added gets a file that it opens."""
    assert {f".{suffix}" for suffix in ENCODERS.keys() | UNWRITTEN} == SUFFIXES


def test_the_page_offers_no_other():
    """The dashboard's file dialog promises what the daemon can read."""
    (accepted,) = re.findall(r'accept="([^"]+)"', PAGE.read_text())

    assert {part for part in accepted.split(",") if part.startswith(".")} <= SUFFIXES


def test_the_doctor_asks_for_decoders_that_are_used():
    """Raw G.722 and GSM have no demuxer here: their decoders promise nothing."""
    assert {"g722", "gsm"}.isdisjoint(DECODERS)
