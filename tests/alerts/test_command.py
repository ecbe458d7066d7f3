import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from fac_stream.alerts.command import MAX_OUTPUT, run
from fac_stream.alerts.message import Outcome
from fac_stream.config_hooks import Command
from tests.alerts.test_outbox import message


def python(code, *arguments, **settings):
    """A hook that runs Python code."""
    return Command(name="it", command=[sys.executable, "-c", code, *arguments], **settings)


async def test_a_program_gets_the_alert(tmp_path):
    """The body on standard input, the fields in the environment, nothing of ours beside, and no shell."""
    code = """
import json, os, sys
json.dump([sys.stdin.read(), dict(os.environ), sys.argv], open(sys.argv[1], "w"))
"""
    os.environ["FAC_TEST_SECRET"] = "secret"
    try:
        hook = python(code, str(tmp_path / "said"), "$(id) ; *", message="$severity on $call_id")
        attempt = await run(hook, message())
    finally:
        del os.environ["FAC_TEST_SECRET"]

    body, environment, arguments = json.loads((tmp_path / "said").read_text())
    assert attempt.outcome is Outcome.DELIVERED
    assert body.encode() == message().body
    assert environment["FAC_ALERT_ID"] == "alert_0"
    assert environment["FAC_ALERT_STATE"] == "raised"
    assert environment["FAC_ALERT_MESSAGE"] == "critical on c"
    ours = {name for name in environment if not name.startswith("FAC_ALERT_")}
    assert ours <= {"PATH", "LANG", "LC_CTYPE", "PWD", "SHLVL", "_"}
    assert arguments[2] == "$(id) ; *"


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        (
            "import sys; print('first', flush=True); sys.exit('no line free\\033[31m')",
            "exit status 1: no line free?[31m",
        ),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ],
)
async def test_a_program_that_fails_is_tried_again(code, detail):
    """What it said last is told, cut and made printable."""
    attempt = await run(python(code), message())

    assert (attempt.outcome, attempt.detail) == (Outcome.RETRY, detail)


@pytest.mark.parametrize("path", ["/nowhere/to/be/found", "/etc/passwd", "/"])
async def test_what_cannot_be_started_is_tried_again(path):
    """It may be there the next time; the daemon goes on."""
    attempt = await run(Command(name="it", command=[path]), message())

    assert attempt.outcome is Outcome.RETRY
    assert "cannot be started" in attempt.detail


async def test_a_program_that_hangs_is_killed_with_its_children(tmp_path):
    """After the time limit neither it nor what it started is alive, though it ignores requests to end."""
    code = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""
    fifo = tmp_path / "pids"
    os.mkfifo(fifo)
    hook = python(code, str(fifo), timeout_s=60.0)
    async with asyncio.TaskGroup() as group:
        attempt = group.create_task(run(hook.model_copy(update={"timeout_s": 5.0}), message()))
        pids = [int(it) for it in (await asyncio.to_thread(fifo.read_text)).split()]

    assert attempt.result().outcome is Outcome.RETRY
    assert "did not end within 5 s" in attempt.result().detail
    async with asyncio.timeout(10):
        while any(map(is_alive, pids)):  # noqa: ASYNC110 - a killed child dies a little later than its parent
            await asyncio.sleep(0.01)


async def test_a_daemon_that_stops_leaves_no_program_behind(tmp_path):
    """Cancelling an attempt kills the program."""
    fifo = tmp_path / "pids"
    os.mkfifo(fifo)
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    task = asyncio.ensure_future(run(python(code, str(fifo)), message()))
    pid = int(await asyncio.to_thread(fifo.read_text))

    task.cancel()
    await asyncio.wait([task])

    async with asyncio.timeout(20):
        while is_alive(pid):  # noqa: ASYNC110 - the kernel tells nobody but the parent
            await asyncio.sleep(0)


async def test_what_a_program_leaves_running_ends_with_it(tmp_path):
    """A child that holds the output open does not hold up the delivery, and does not live on."""
    code = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(child.pid))
"""
    attempt = await run(python(code, str(tmp_path / "pid")), message())

    assert attempt.outcome is Outcome.DELIVERED
    async with asyncio.timeout(20):
        while is_alive(int((tmp_path / "pid").read_text())):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)


async def test_a_program_that_talks_without_end_is_not_believed():
    """Output is read and forgotten: neither is the program held up, nor is memory taken."""
    code = "import sys; [sys.stdout.write('x' * 65536) for _ in range(64)]; sys.exit(7)"

    attempt = await run(python(code), message())

    assert attempt.detail.startswith("exit status 7: xxx")
    assert len(attempt.detail) < 200 < MAX_OUTPUT


async def test_a_program_need_not_read(tmp_path):
    """One that closes its input is none the worse for it."""
    attempt = await run(python("import os; os.close(0)"), message())

    assert attempt.outcome is Outcome.DELIVERED


def descriptors():
    """What this process has open."""
    return list(Path("/proc/self/fd").iterdir())


async def test_descriptors_do_not_pile_up():
    """Whatever happens, what was opened is closed."""
    before = len(descriptors())
    for hook in (python("pass"), python("raise SystemExit(1)"), Command(name="it", command=["/nowhere"])):
        for _ in range(3):
            await run(hook, message())

    assert len(descriptors()) <= before + 3


@pytest.mark.parametrize("command", [[], ["page"], ["./page"], ["/bin/a\0b"], "/bin/true"])
def test_what_is_no_command_is_refused(command):
    """A list that begins with a whole path: nothing is looked up, and no shell cuts it."""
    with pytest.raises(ValidationError):
        Command(name="it", command=command)


def is_alive(pid):
    """Whether a process runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False
