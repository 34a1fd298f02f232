"""What a plan does to answers and times as so much more or less, never as a loss below nought."""

from chiasm.core.claims import Claim
from chiasm.results.wording import number


def right_answers(loss: Claim) -> str:
    """`1.2 points more right answers (95 % interval from 10.4 points more to 7.3 points fewer, n = 84)`."""
    ways, on = ("more", "fewer"), "" if loss.inputs in (None, loss.n) else f" on {loss.inputs} inputs"
    much = _way(loss.effect, ways, "points", 1) or "as many"
    return f"{much} right answers (95 % interval {_between(loss, ways, 'points', 1)}, n = {loss.n}{on})"


def changed_time(one: Claim) -> str:
    """`7 % less time (from 11 % less to 3 % less)`, and that it is not established, where it is not."""
    ways = ("less", "more")
    sure = "" if one.established or one.verdict == "practically none" else ", not established"
    return f"{_way(one.effect, ways, '%', 0) or 'as much'} time ({_between(one, ways, '%', 0)}{sure})"


def less_or_more(one: Claim, ways: tuple[str, str], unit: str, digits: int = 1) -> str:
    """An estimate with its interval; `ways`: the words for effects below and above 0."""
    return f"{_way(one.effect, ways, unit, digits) or 'the same'} ({_between(one, ways, unit, digits)})"


def _between(one: Claim, ways: tuple[str, str], unit: str, digits: int) -> str:
    if one.low is None or one.high is None:
        return "no interval"
    low, high = (_way(bound, ways, unit, digits) or f"0 {unit}" for bound in (one.low, one.high))
    return f"from {low} to {high}"


def _way(value: float, ways: tuple[str, str], unit: str, digits: int) -> str:
    """So much below or above 0; empty for what is rounded to 0."""
    if not round(value, digits):
        return ""
    return f"{number(abs(value), unit=unit, digits=digits)} {ways[value > 0]}"
