"""Divergences of words: two random parts of one span do not differ, and few tokens read do not make them differ."""

import numpy as np
import polars as pl
import pytest
import torch

import chiasm
from chiasm.core.claims import Claim, of_kind
from chiasm.measures.parts import PARTS
from chiasm.measures.vocabulary import ReadTokens, Vocabulary, corrected, js, kl, matched
from chiasm.models.observe import Batch, Segment, SiteStates
from chiasm.results.claims import read_claims

SPANS = ("image", "question")
WORDS = 60
SCORE = pl.DataFrame([], schema=["name", "statistic", "value", "low", "high", "n", "a", "b"])


def read(shift: float, examples: int = 40, sizes: tuple[int, int] = (36, 8), tokens: int = 64) -> Vocabulary:
    """A measure that has read logits of tokens of one kind, cut at random into an image and a question.

    `shift`: what is added to the logits of the first words at question tokens.
    """
    measure = Vocabulary(SPANS, (0,), lambda states: states, str, tokens=tokens)
    rng = np.random.default_rng(0)
    for k in range(examples):
        logits = 2.0 * rng.standard_normal((sum(sizes), WORDS)) + rng.standard_normal(WORDS)
        logits[sizes[0] :, :10] += shift
        segments = (Segment(0, "image", 0, sizes[0]), Segment(0, "question", sizes[0], sum(sizes)))
        batch = Batch((f"example {k}",), segments, np.arange(sum(sizes)))
        measure.update(SiteStates(batch, 0, "residual", torch.from_numpy(logits)))
        measure.end_batch(batch)
    return measure


def words(measure: Vocabulary, quantity: str = "js") -> list[Claim]:
    parts = pl.DataFrame(measure.tables()[PARTS], schema_overrides={"layer": pl.Int64})
    return of_kind(read_claims(chiasm.claims("align", {"score": SCORE, "parts": parts})), f"words-{quantity}")


@pytest.mark.parametrize("quantity", ["js", "kl"])
def test_random_parts_of_one_span_do_not_differ(quantity):
    measure = read(0.0)
    plain = [row["mean"] for row in measure.tables()["vocabulary"] if row["quantity"] == quantity]
    assert min(plain) > 0.05, "without a null this would be taken for a difference"
    for one in words(measure, quantity):
        assert not one.found
        assert one.low is not None
        assert one.high is not None
        assert one.low < 0 < one.high
        assert one.control == "a span against itself"
        assert one.control_effect is not None
        assert one.control_effect > 0.05


def test_spans_of_other_words_differ():
    [one] = words(read(2.0))
    assert one.verdict == "established"
    assert one.effect > 0.02


def test_between_and_within_are_equal_on_average_where_tokens_are_alike():
    null = {
        row["quantity"]: row for row in read(0.0, examples=120).tables()["vocabulary_null"] if row["span"] == "image"
    }
    for row in null.values():
        assert row["tokens"] == 4
        assert row["mean"] == pytest.approx(row["matched"] - row["null"])
        assert abs(row["mean"]) < 0.1 * row["null"]


def test_a_sample_of_the_tokens_is_corrected_to_all_of_them():
    """Plain, a divergence of 16 of 200 tokens is too large; corrected, its error is a third at most."""

    def mean(tokens: int, plain: bool) -> float:
        found = []
        rng = np.random.default_rng(1)
        for _ in range(60):
            p = torch.from_numpy(rng.dirichlet(np.full(WORDS, 0.3), 200))
            q = torch.from_numpy(rng.dirichlet(np.linspace(0.1, 0.6, WORDS), 200))
            both = []
            for states in (p, q):
                chosen = states[rng.permutation(200)[:tokens]]
                orders = torch.from_numpy(np.stack([rng.permutation(tokens) for _ in range(4)]))
                both.append(ReadTokens(chosen, tokens if plain else 200, orders))
            found.append(float(corrected(js, *both)))
        return float(np.mean(found))

    truth = mean(200, plain=False)
    assert mean(200, plain=True) == pytest.approx(truth)  # nothing is changed where all are read
    assert mean(16, plain=True) - truth > 0.02
    assert abs(mean(16, plain=False) - truth) < (mean(16, plain=True) - truth) / 3


def test_matched_divergences_by_hand():
    rng = np.random.default_rng(0)
    p, q = (torch.from_numpy(rng.dirichlet(np.ones(5), n)) for n in (4, 7))
    orders = [torch.from_numpy(rng.permutation(n)[None]) for n in (4, 7)]
    between, within = matched(kl, ReadTokens(p, 4, orders[0]), ReadTokens(q, 7, orders[1]))
    one, two = (p[orders[0][0, :2]].mean(0), p[orders[0][0, 2:4]].mean(0))
    three, four = (q[orders[1][0, :2]].mean(0), q[orders[1][0, 2:4]].mean(0))
    assert between == pytest.approx(float(kl(one, three) + kl(two, four)) / 2)
    assert within == pytest.approx(float(kl(one, two) + kl(two, one) + kl(three, four) + kl(four, three)) / 4)
