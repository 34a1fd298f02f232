"""Interrupts that do not get lost: Python drops one that arrives in a callback, as there are many in imports."""

import signal
from types import FrameType

_asked = False


def listen() -> None:
    """Note interrupts from now on, and what batch systems send first (SIGTERM), which is handled as one.

    Interrupts stay ignored where whoever started this process had them ignored.
    """
    global _asked
    _asked = False
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def require_uninterrupted() -> None:
    """Raise the `KeyboardInterrupt` of a signal that was dropped; asked at places that are not reached otherwise."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
