"""Whether the holder of a lake is silent for too long: by the times of its signs of life, and then by watching it.

Times of a file system come from a clock that may be set while a run holds the lake: what was touched a moment ago then
looks an hour old. So times alone let no holder lose its lake; whoever wants it also waits for a sign of life in vain.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_pause = time.sleep
#: Looks in the time between two signs of a living holder.
_LOOKS = 2
#: Signs that a holder must miss under watch, beside those that it has missed by the times.
_MISSED = 2


def is_silent(last_sign: Callable[[], float | None], age: float, seconds: float, beat: float) -> bool:
    """Whether a holder has given no sign of life for ``seconds``.

    Parameters
    ----------
    last_sign
        Time of its last sign of life by the clock of the store; None where it has none any more.
    age
        Seconds from that sign to now, by the same clock.
    seconds
        How long a living holder may be silent.
    beat
        Seconds between two signs of a living holder.
    """
    if -beat <= age < seconds:
        return False
    seen = last_sign()
    # A sign that comes from the future says nothing of its age: the clock was set back, and only watching is left.
    watched = _MISSED * beat if age >= seconds else seconds
    for _ in range(round(watched / beat * _LOOKS)):
        if seen is None:
            return True
        _pause(beat / _LOOKS)
        if last_sign() != seen:
            return last_sign() is None
    return True
