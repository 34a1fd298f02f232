"""Which way an effect goes, in the words of its question."""

import pytest

from chiasm.core.claims import Claim
from chiasm.results.ways import verdict_of, ways_of


def of(effect: float, verdict: str) -> Claim:
    return Claim(kind="k", about="a", quantity="q", unit="1", effect=effect, n=9, verdict=verdict)


@pytest.mark.parametrize(
    ("question", "ways"),
    [
        ("Are they more or less alike?", ("more", "less")),
        ("Does it lose less or more than others?", ("less", "more")),
        ("Are more or fewer right?", ("more", "fewer")),
        ("What does it gain or lose?", ("gain", "lose")),
        ("Are they further from or nearer to it?", ("further", "nearer")),
        ("Which route is used earlier, image or text?", None),
        ("How many are right?", None),
    ],
)
def test_the_ways_are_those_that_the_question_names(question, ways):
    assert ways_of(question) == ways


def test_only_what_was_found_has_a_way():
    question = "Does it lose less or more?"
    assert verdict_of(of(1.0, "established"), question) == "established: less"
    assert verdict_of(of(-1.0, "established"), question) == "established: more"
    assert verdict_of(of(-1.0, "uncontrolled"), question) == "uncontrolled: more"
    assert verdict_of(of(-1.0, "not established"), question) == "not established"
    assert verdict_of(of(-1.0, "practically none"), question) == "practically none"
    assert verdict_of(of(-1.0, "established"), "How many?") == "established"
