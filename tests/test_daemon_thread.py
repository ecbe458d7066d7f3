import asyncio
import subprocess
import sys
import threading

import pytest

from fac_stream.daemon_thread import EXIT_PATIENCE_S, DaemonThread


async def test_results_and_errors_come_back_in_order():
    """It is an executor like any other, of one thread."""
    thread = DaemonThread("test")
    loop = asyncio.get_running_loop()
    order = []
    await asyncio.gather(*(loop.run_in_executor(thread, order.append, i) for i in range(20)))
    assert order == list(range(20))
    assert await loop.run_in_executor(thread, lambda: threading.current_thread().name) == "test"
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(thread, divmod, 1, 0)
    last = thread.submit(order.clear)
    thread.shutdown()
    assert last.result(10) is None


def test_what_was_cancelled_is_not_run():
    """A task that nobody wants any more is passed over."""
    thread = DaemonThread("test")
    gate = threading.Event()
    thread.submit(gate.wait, 10)
    forgotten = thread.submit(pytest.fail, "it was cancelled")
    assert forgotten.cancel()
    gate.set()
    assert thread.submit(int, "7").result(10) == 7
    thread.shutdown()


@pytest.mark.parametrize("ending", ["", "thread.shutdown()"])
def test_a_thread_that_hangs_does_not_keep_the_process(ending):
    """The interpreter exits, although a thread never comes back."""
    program = f"""
import threading
from fac_stream.daemon_thread import DaemonThread
thread = DaemonThread("hangs")
thread.submit(threading.Event().wait)
{ending}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=EXIT_PATIENCE_S + 30)
