import asyncio
import base64
import io
import wave

import numpy as np
import pytest
from aiohttp import FormData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fac_stream.audio.codecs import encode
from fac_stream.audio.frames import Encoding
from fac_stream.server import predict
from fac_stream.server.clip import parse
from fac_stream.server.failure import ApiError
from tests.fakes import BlockedScorer, FailingScorer, scored_at
from tests.server.serving import serving, voice
from tests.server.test_mpeg import compressed

UPLOAD = "/api/predict/upload"
REALTIME = "/api/predict/realtime"


def wav(data, rate=16_000, channels=1):
    """A WAV file of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(data)
    return file.getvalue()


def form(data, field="file"):
    """A form as a browser sends it."""
    body = FormData()
    body.add_field(field, io.BytesIO(data), filename="clip.wav", content_type="audio/wav")
    return body


def base64_of(data):
    """Text for JSON."""
    return base64.b64encode(data).decode()


async def refused(response, status, code):
    """Check an error; returns its message."""
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (status, code)
    return error["message"]


async def test_an_upload_is_scored_whole(tmp_path):
    """The predecessor's three fields, and a timeline over all of the file, not its first two seconds."""
    recording = wav(voice(0.0, 6) + voice(1.0, 6))
    async with serving(tmp_path) as served:
        response = await served.http.post(UPLOAD, data=form(recording))
        assert response.status == 200
        answer = await response.json()
    assert answer["prediction"] in ("fake", "real")
    assert answer["confidence"] == max(answer["fakeness_score"], 1 - answer["fakeness_score"])
    windows = answer["windows"]
    assert windows[0]["start_s"] == 0.0
    assert windows[0]["score"] == 0.0
    assert windows[-1]["end_s"] == 12.0
    assert windows[-1]["score"] == 1.0


async def test_what_the_sound_is_unlike_is_told(tmp_path):
    """Flags of quality stand in each window, in each leg and at the top."""
    faint = (np.frombuffer(voice(1.0, 4), np.int16) // 50).tobytes()
    async with serving(tmp_path) as served:
        answer = await (await served.http.post(UPLOAD, data=form(wav(faint)))).json()
    assert answer["quality"] == answer["legs"][0]["quality"] == answer["windows"][0]["quality"] == ["quiet"]


@pytest.mark.parametrize(("score", "prediction"), [(0.0, "real"), (1.0, "fake")])
async def test_prediction_is_fake_above_one_half(tmp_path, score, prediction):
    """Both endpoints say the same of the same sound."""
    recording = wav(voice(score, 4))
    async with serving(tmp_path) as served:
        uploaded = await (await served.http.post(UPLOAD, data=form(recording))).json()
        sent = await (await served.http.post(REALTIME, json={"audio": base64_of(recording)})).json()
    assert uploaded == sent
    assert sent["prediction"] == prediction


async def test_silence_is_unknown_and_has_no_score(tmp_path):
    """No speech is no verdict: null, not zero."""
    async with serving(tmp_path) as served:
        answer = await (await served.http.post(UPLOAD, data=form(wav(bytes(2 * 16_000 * 5))))).json()
    assert answer["prediction"] == "unknown"
    assert answer["fakeness_score"] is None
    assert answer["confidence"] is None


async def test_two_channels_are_two_legs(tmp_path):
    """A stereo call gives a timeline for each leg."""
    left, right = voice(0.0, 4), voice(1.0, 4)
    data = b"".join(left[i : i + 2] + right[i : i + 2] for i in range(0, len(left), 2))
    async with serving(tmp_path) as served:
        answer = await (await served.http.post(UPLOAD, data=form(wav(data, channels=2)))).json()
    assert {window["leg"] for window in answer["windows"]} == {"caller", "agent"}


async def test_what_cannot_be_decoded_is_415(tmp_path):
    """Bytes that are no sound file."""
    async with serving(tmp_path) as served:
        response = await served.http.post(UPLOAD, data=form(b"this is no sound file" * 100))
        assert await refused(response, 415, "undecodable")


async def test_an_empty_file_is_422(tmp_path):
    """Nothing at all, or a file that holds no samples."""
    async with serving(tmp_path) as served:
        await refused(await served.http.post(UPLOAD, data=form(b"")), 422, "empty")
        await refused(await served.http.post(UPLOAD, data=form(wav(b""))), 422, "no_audio")


async def test_the_field_must_be_named_file(tmp_path):
    """Said in words."""
    async with serving(tmp_path) as served:
        response = await served.http.post(UPLOAD, data=form(wav(voice(0.5, 2)), field="audio"))
        assert "file" in await refused(response, 422, "no_file")


async def test_an_upload_is_multipart(tmp_path):
    """A bare body is 415, a form without boundary 400."""
    async with serving(tmp_path) as served:
        response = await served.http.post(UPLOAD, data=wav(voice(0.5, 2)))
        await refused(response, 415, "not_multipart")
        headers = {"Content-Type": "multipart/form-data"}
        response = await served.http.post(UPLOAD, data=b"--x\r\n", headers=headers)
        await refused(response, 400, "bad_multipart")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"--x", b"--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: form-data; name=", b'"file"', b"; filename=", b"Content-Transfer-Encoding: base64", b"Content-Length: 9", b"Content-Type: multipart/mixed; boundary=x", b"\xff\0"]) | st.binary(max_size=20), max_size=16))  # fmt: skip  # noqa: E501 - a table of pieces
@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")
@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionParam")
def test_any_multipart_body_is_answered(tmp_path_factory, pieces):
    """Whatever the parts look like, the answer is a refusal in JSON and not a fault of ours."""

    async def scenario():
        async with serving(tmp_path_factory.mktemp("served")) as served:
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            response = await served.http.post(UPLOAD, data=b"".join(pieces), headers=headers)
            assert response.status in (400, 415, 422)
            assert (await response.json())["error"]["code"]

    asyncio.run(scenario())


async def test_an_upload_has_a_size(tmp_path):
    """413 by the declared length before a byte is read, and by counting where none is declared."""
    async with serving(tmp_path, server={"max_upload_mb": 1}) as served:
        response = await served.http.post(UPLOAD, data=form(bytes(2_000_000)))
        assert "1 MiB" in await refused(response, 413, "too_large")

        async def undeclared():
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            for _ in range(40):
                yield bytes(50_000)

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        response = await served.http.post(UPLOAD, data=undeclared(), headers=headers)
        await refused(response, 413, "too_large")


async def test_a_body_that_never_ends_is_given_up(tmp_path, monkeypatch):
    """A sender of one byte now and then does not hold a place for ever."""
    monkeypatch.setattr(predict, "UPLOAD_DEADLINE_S", 0.1)
    async with serving(tmp_path) as served:
        release = asyncio.Event()

        async def slow():
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF'
            await release.wait()

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        response = await served.http.post(UPLOAD, data=slow(), headers=headers)
        await refused(response, 408, "too_slow")
        release.set()


async def test_uploads_at_once_are_limited(tmp_path):
    """The third is 503 with Retry-After while two are being scored; afterwards there is room again."""
    scorer = BlockedScorer()
    recording = wav(voice(0.5, 4))
    async with serving(tmp_path, scorer=scorer) as served:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(served.http.post(UPLOAD, data=form(recording))) for _ in range(3)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            response = done.pop().result()
            await refused(response, 503, "busy")
            assert int(response.headers["Retry-After"]) > 0
            scorer.release.set()
        assert sorted(task.result().status for task in tasks) == [200, 200, 503]
        assert (await served.http.post(UPLOAD, data=form(recording))).status == 200


async def test_a_client_that_leaves_frees_its_place(tmp_path, monkeypatch):
    """Scoring for nobody is given up."""
    monkeypatch.setattr(predict, "DISCONNECT_POLL_S", 0.01)
    monkeypatch.setattr(predict, "UPLOADS_AT_ONCE", 1)
    scorer = BlockedScorer()
    recording = wav(voice(0.5, 4))
    async with serving(tmp_path, scorer=scorer) as served:
        leaving = asyncio.ensure_future(served.http.post(UPLOAD, data=form(recording)))
        assert await asyncio.to_thread(scorer.entered.wait, 30)
        leaving.cancel()
        await asyncio.wait([leaving])
        scorer.release.set()
        async with asyncio.timeout(30):
            while (response := await served.http.post(UPLOAD, data=form(recording))).status == 503:
                await refused(response, 503, "busy")
        assert response.status == 200


async def test_scoring_has_a_deadline(tmp_path, monkeypatch):
    """A recording that takes for ever is given up, and says so."""
    monkeypatch.setattr(predict, "SCORING_DEADLINE_S", 0.2)
    scorer = BlockedScorer()
    async with serving(tmp_path, scorer=scorer) as served:
        response = await served.http.post(UPLOAD, data=form(wav(voice(0.5, 2))))
        scorer.release.set()
        await refused(response, 503, "scoring_too_slow")
        assert response.headers["Retry-After"]


async def test_a_recording_has_a_longest_duration(tmp_path, monkeypatch):
    """What is longer is 422 with the limit in words."""
    monkeypatch.setattr("fac_stream.audio.media.MAX_DURATION_S", 3600 / 1800)
    async with serving(tmp_path) as served:
        response = await served.http.post(UPLOAD, data=form(wav(voice(0.5, 4))))
        assert "cut it into pieces" in await refused(response, 422, "unusable_audio")


async def test_a_model_that_fails_is_no_verdict(tmp_path):
    """503 with a reason, and neither fake nor real."""
    async with serving(tmp_path, scorer=FailingScorer()) as served:
        response = await served.http.post(UPLOAD, data=form(wav(voice(0.5, 2))))
        await refused(response, 503, "model_failed")
        assert response.headers["Retry-After"]


async def test_without_a_model_nothing_is_predicted(tmp_path):
    """503 on both endpoints."""
    async with serving(tmp_path, loaded=False) as served:
        await refused(await served.http.post(UPLOAD, data=form(b"x")), 503, "model_not_loaded")
        await refused(await served.http.post(REALTIME, json={"audio": ""}), 503, "model_not_loaded")


@pytest.mark.parametrize("encoding", Encoding)
async def test_bare_samples_need_a_rate(tmp_path, encoding):
    """Samples without header are scored as what they are said to be."""
    data = encode(scored_at(1.0, 4, 8000).reshape(-1, 1), encoding)
    body = {"audio": base64_of(data), "sample_rate": 8000, "encoding": encoding.value}
    async with serving(tmp_path) as served:
        answer = await (await served.http.post(REALTIME, json=body)).json()
        assert answer["prediction"] == "fake"
        assert answer["duration_s"] == 4.0


async def test_a_needless_rate_makes_no_samples_of_an_mp3(tmp_path):
    """An MP3 without a tag is decoded, also where a rate was given with it."""
    body = {"audio": base64_of(compressed("mp3", "libmp3lame", 16_000)), "sample_rate": 8000}
    async with serving(tmp_path) as served:
        answer = await (await served.http.post(REALTIME, json=body)).json()
    assert answer["prediction"] == "fake"
    assert answer["duration_s"] == pytest.approx(2.0, abs=0.2)


async def test_bare_samples_without_a_rate_are_told_what_to_add(tmp_path):
    """422 that names the missing field."""
    body = {"audio": base64_of(voice(0.5, 2))}
    async with serving(tmp_path) as served:
        message = await refused(await served.http.post(REALTIME, json=body), 422, "undecodable")
    assert "sample_rate" in message


async def test_samples_that_are_no_numbers_are_422(tmp_path):
    """NaN is not audio."""
    body = {"audio": base64_of(b"\0\0\xc0\x7f" * 40_000), "sample_rate": 16_000, "encoding": "pcm_f32le"}
    async with serving(tmp_path) as served:
        await refused(await served.http.post(REALTIME, json=body), 422, "unusable_audio")


async def test_a_data_url_is_base64_too(tmp_path):
    """What a browser's FileReader gives can be sent as it is."""
    body = {"audio": "data:audio/wav;base64," + base64_of(wav(voice(1.0, 3)))}
    async with serving(tmp_path) as served:
        assert (await (await served.http.post(REALTIME, json=body)).json())["prediction"] == "fake"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b"[" * 100_000, 400, "bad_json"),
        (b"[]", 422, "bad_field"),
        (b"{}", 422, "bad_field"),
        (b'{"audio": 1}', 422, "bad_field"),
        (b'{"audio": "AAAA", "rate": 8000}', 422, "bad_field"),
        (b'{"audio": "AAAA", "sample_rate": 1}', 422, "bad_field"),
        (b'{"audio": "AAAA", "sample_rate": 8000, "channels": 9}', 422, "bad_field"),
        (b'{"audio": "AAAA", "sample_rate": 8000, "encoding": "mp3"}', 422, "bad_field"),
        (b'{"audio": "not base64!"}', 422, "bad_base64"),
        (b'{"audio": "\\u00e4"}', 422, "bad_base64"),
        (b'{"audio": ""}', 422, "empty"),
        (b'{"audio": "AAAA", "sample_rate": 8000}', 422, "unusable_audio"),
    ],
)
async def test_a_bad_realtime_request_is_refused(tmp_path, body, status, code):
    """Malformed JSON is 400, a field that cannot be used 422; each with its code."""
    async with serving(tmp_path) as served:
        await refused(await served.http.post(REALTIME, data=body), status, code)


async def test_a_realtime_request_has_a_size(tmp_path):
    """Beyond 8 MiB of JSON it belongs to the upload."""
    async with serving(tmp_path) as served:
        response = await served.http.post(REALTIME, data=io.BytesIO(b"A" * 9_000_000))
        await refused(response, 413, "too_large")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda text: text.encode(), st.text()))
def test_any_realtime_body_is_parsed_or_refused(body):
    """The parser knows no third way."""
    try:
        parse(body)
    except ApiError as error:
        assert error.status in (400, 422)  # noqa: PT017 - both ways out are allowed
