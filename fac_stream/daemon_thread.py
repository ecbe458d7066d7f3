"""One thread that runs what it is given, in order, and cannot keep the process from ending.

The threads of ``ThreadPoolExecutor`` are joined when the interpreter exits: one that hangs, in a driver or on
a dead disk, would hang the exit and with it the restart. Here the exit waits ``EXIT_PATIENCE_S`` at most.
"""

import atexit
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

EXIT_PATIENCE_S = 2.0
"""A thread inside a C++ library had better be out of it when the interpreter goes."""

_Task = tuple["Future[Any]", Callable[[], Any]]


class DaemonThread(Executor):
    """An executor of one thread, for ``loop.run_in_executor``. ``shutdown`` does not wait for it."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()
        atexit.register(self._thread.join, EXIT_PATIENCE_S)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run ``fn`` after all that was submitted before."""
        future: Future[Any] = Future()
        self._tasks.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the base class's signature
        """Let the thread end after what it was given; submit nothing after."""
        self._tasks.put(None)

    def _work(self) -> None:
        while self._step():
            pass
        atexit.unregister(self._thread.join)

    def _step(self) -> bool:
        """Run the next task; its values are let go before the next one is waited for."""
        task = self._tasks.get()
        if task is None:
            return False
        future, call = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits for the result
                future.set_exception(error)
        return True
