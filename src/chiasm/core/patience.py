"""A limit on how long a piece of Python may take, in whichever thread it runs."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TooLongError(Exception):
    """A piece of Python took longer than it may."""


@contextmanager
def within_seconds(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` in the block where it takes longer than `seconds`.

    It is raised between two steps of Python: one call into a library is waited for.

    **Errors:** `TooLongError`.
    """
    inside, thread = threading.Lock(), threading.get_ident()
    ended = False

    def stop() -> None:
        with inside:
            if not ended:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TooLongError))

    watch = threading.Timer(seconds, stop)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        with inside:
            ended = True
        watch.cancel()
