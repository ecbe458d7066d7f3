import asyncio

import pytest

from fac_stream.server import app as application
from fac_stream.server.headers import SECURITY
from tests.server.serving import EER, PLOT, answer, hello, serving, voice


async def test_health_is_what_the_daemon_says(tmp_path):
    """200 while it serves, 503 otherwise; the report is the body."""
    for report, status in (
        ({"status": "ok"}, 200),
        ({"status": "degraded", "problems": ["no microphone"]}, 200),
        ({"status": "failed"}, 503),
    ):
        async with serving(tmp_path, health=report) as served:
            response = await served.http.get("/api/health")
            assert (response.status, await response.json()) == (status, report)


async def test_model_status_has_the_predecessors_fields(tmp_path):
    """Loaded, device, accuracy, version; its error rate with an interval; which model and plots there are."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/api/model/status")
        assert response.status == 200
        assert await response.json() == {
            "loaded": True,
            "device": "cpu",
            "accuracy": 0.93,
            "eer": EER,
            "version": "1.2",
            "model": "fake@00000000",
            "plots": ["roc"],
        }


async def test_model_status_without_a_model_is_503(tmp_path):
    """The predecessor's clients look at ``loaded``."""
    async with serving(tmp_path, loaded=False) as served:
        response = await served.http.get("/api/model/status")
        assert response.status == 503
        status = await response.json()
        assert status.pop("loaded") is False
        assert status.pop("plots") == []
        assert set(status.values()) == {None}


@pytest.mark.parametrize("name", ["roc", "roc.png"])
async def test_a_graph_is_a_plot_of_the_bundle(tmp_path, name):
    """As PNG, with or without the suffix."""
    async with serving(tmp_path) as served:
        response = await served.http.get(f"/api/graph/{name}")
        assert response.content_type == "image/png"
        assert await response.read() == PLOT


@pytest.mark.parametrize("name", ["nope", "..%2fbundle.json", "roc.png.png", "weights.safetensors"])
async def test_nothing_but_plots_is_a_graph(tmp_path, name):
    """No other file of the bundle, or of the machine, can be read."""
    async with serving(tmp_path) as served:
        response = await served.http.get(f"{served.url}api/graph/{name}")
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "no_such_graph"


async def test_calls_are_listed_and_told_in_detail(tmp_path):
    """Going on first, then ended, newest first; the detail has each leg's timeline."""
    async with serving(tmp_path) as served:
        for call_id in ("old", "new"):
            async with served.connect("/ws/ingest") as socket:
                await hello(socket, call_id=call_id)
                await socket.send(voice(1.0, 3))
                await socket.send('{"type": "end"}')
                await answer(socket)
        async with served.connect("/ws/ingest") as socket:
            await hello(socket, call_id="now")
            listed = (await (await served.http.get("/api/calls")).json())["calls"]
            assert [call["call_id"] for call in listed] == ["now", "new", "old"]
            assert [call["end_reason"] for call in listed] == [None, "completed", "completed"]
            some = (await (await served.http.get("/api/calls?limit=2")).json())["calls"]
            assert [call["call_id"] for call in some] == ["now", "new"]
        detail = await (await served.http.get("/api/calls/old")).json()
        assert [point["end_s"] for point in detail["timeline"]["mixed"]] == [2.0, 2.5, 3.0]
        assert detail["legs"][0]["peak_score"] == 1.0


async def test_an_unknown_call_is_404(tmp_path):
    """With a stable code."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/api/calls/nobody")
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "no_such_call"


@pytest.mark.parametrize("limit", ["0", "1001", "0000019999999", "-1", "many", "1e3", "", "9" * 5000, "٣"])
async def test_a_bad_limit_is_400(tmp_path, limit):
    """No number of calls that is none, or too many."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/api/calls", params={"limit": limit})
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "bad_query"


async def test_metrics_are_for_prometheus(tmp_path):
    """The OpenMetrics text, ending as the format demands."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/metrics")
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")


async def test_the_dashboard_is_at_the_root(tmp_path):
    """The page and its scripts, with types that browsers accept under nosniff."""
    async with serving(tmp_path) as served:
        page = await served.http.get("/")
        assert page.content_type == "text/html"
        assert "<html" in await page.text()
        script = await served.http.get("/js/main.js")
        assert script.content_type in ("text/javascript", "application/javascript")
        assert script.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/pyproject.toml",
        "/..%2f..%2fetc/passwd",
        "/js/",
        "/nope",
        "//etc/passwd",
    ],
)
async def test_nothing_outside_the_dashboard_is_served(tmp_path, path):
    """Paths that climb, folders and unknown files are not found, as JSON."""
    async with serving(tmp_path) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(30):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        assert head.split()[1] in (b"403", b"404")
        assert body.startswith(b'{"error"')


async def test_errors_are_json_with_a_stable_code(tmp_path):
    """Also where the framework itself refuses."""
    async with serving(tmp_path) as served:
        for method, path, status, code in (
            ("GET", "/api/nope", 404, "not_found"),
            ("POST", "/api/health", 405, "method_not_allowed"),
            ("DELETE", "/api/calls/x", 405, "method_not_allowed"),
            ("GET", "/api/predict/upload", 404, "not_found"),
            ("PUT", "/", 405, "method_not_allowed"),
        ):
            response = await served.http.request(method, path)
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (status, code)
            assert error["message"]
            assert status != 405 or response.headers["Allow"]


async def test_a_fault_of_ours_tells_nothing(tmp_path, monkeypatch):
    """500 with a code; the exception's text stays in the log."""
    async with serving(tmp_path) as served:
        monkeypatch.setattr(served.services.calls, "summaries", lambda: 1 / 0)
        response = await served.http.get("/api/calls")
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "internal_error"
        assert "division" not in await response.text()


@pytest.mark.parametrize("path", ["/", "/js/main.js", "/api/health", "/api/nope"])
async def test_every_answer_says_what_browsers_may_do(tmp_path, path):
    """Security headers on pages, files, answers and errors; and not a word about what runs here."""
    async with serving(tmp_path) as served:
        response = await served.http.get(path)
        assert {name: response.headers[name] for name in SECURITY} == SECURITY
        assert "Server" not in response.headers


async def test_an_idle_connection_is_closed(tmp_path, monkeypatch):
    """Whoever connects and never finishes a request does not hold the connection for ever."""
    monkeypatch.setattr(application, "KEEP_ALIVE_S", 0.1)
    async with serving(tmp_path) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(b"GET /api/health HTTP/1.1\r\nHost: local")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_headers_have_a_limit(tmp_path):
    """A header longer than the limit is a 400, not memory."""
    async with serving(tmp_path) as served:
        response = await served.http.get("/api/health", headers={"X-Long": "x" * 20_000})
        assert response.status == 400


async def test_a_taken_port_is_told_in_words(tmp_path):
    """Which port, and what to do."""
    async with serving(tmp_path) as served:
        port = served.address[1]
        with pytest.raises(ExceptionGroup) as refused:
            async with serving(tmp_path / "b", server={"port": port}):
                pass
        assert str(port) in str(refused.value.exceptions[0])
