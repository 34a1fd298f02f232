"""Overlap, vocabulary and geometry equal plain float64 computations."""

import zlib

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import special_ortho_group
from scipy.stats import t as student
from tests.support.float64 import no_upcasts
from tests.support.runs import encoded, view_of
from tests.support.states import feed, hidden_states, rows_of

from chiasm.core.statistics.jackknife import group_of
from chiasm.measures.geometry import Geometry, cka, effective_rank, pca
from chiasm.measures.overlap import Overlap, matrices_of, random_overlap
from chiasm.measures.vocabulary import Vocabulary

SPANS = ("image", "question")


@pytest.fixture(scope="module")
def case():
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(9)]
    return view, items, [hidden_states(view, item) for item in items]


def kept(scores, sparsity):
    """Wanda's mask written as a loop over rows."""
    mask = np.ones(scores.shape, dtype=bool)
    for row, values in zip(mask, scores, strict=True):
        row[np.argsort(values, kind="stable")[: int(np.floor(values.size * sparsity + 1e-9))]] = False
    return mask


def test_overlap(case):
    view, items, _ = case
    (measure,) = feed([Overlap(SPANS, matrices_of(view.layers))], view, [items[:4], items[4:]])
    rows = rows_of(measure, "overlap")
    assert len(rows) == 4 * 7 * 3
    inputs = {}
    for item in items:
        handles = [
            m.register_forward_pre_hook(lambda module, args, n=name: inputs.setdefault(n, []).append(args[0][0]))
            for name, m in matrices_of(view.layers).items()
        ]
        with torch.no_grad(), no_upcasts(torch.float64):
            view.model(**item.inputs)
        for handle in handles:
            handle.remove()
    for row in rows:
        name = f"{row['layer']}.{row['matrix']}"
        weight = matrices_of(view.layers)[name].weight.detach().abs().numpy()
        norms = {
            span: np.sqrt(sum((x.numpy()[i.spans[span]] ** 2).sum(0) for x, i in zip(inputs[name], items, strict=True)))
            for span in SPANS
        }
        a, b = (kept(weight * norms[span], row["sparsity"]) for span in SPANS)
        assert row["iou"] == pytest.approx((a & b).sum() / (a | b).sum(), rel=1e-6)
        magnitude = kept(weight, row["sparsity"])
        null = [(m & magnitude).sum() / (m | magnitude).sum() for m in (a, b)]
        assert row["null_magnitude"] == pytest.approx(np.mean(null), rel=1e-6)
        rng = np.random.default_rng([0, zlib.crc32(name.encode())])
        rng.permutation(weight.shape[0])  # the rows, of which all are compared
        shuffled = [kept(weight * norms["question"][rng.permutation(weight.shape[1])], row["sparsity"]) for _ in "1234"]
        expected = np.mean([(a & m).sum() / (a | m).sum() for m in shuffled])
        assert row["null_permuted"] == pytest.approx(expected, rel=1e-6)
        assert row["null_random"] < row["null_permuted"] < 1
        assert row["tokens_a"] == sum(len(item.spans["image"]) for item in items)
        halves = []
        for span in SPANS:
            one, two = (
                kept(
                    weight
                    * np.sqrt(
                        sum(
                            (x.numpy()[i.spans[span]] ** 2).sum(0)
                            for x, i in zip(inputs[name], items, strict=True)
                            if (group_of(i.example_id) < 10) == first
                        )
                    ),
                    row["sparsity"],
                )
                for first in (True, False)
            )
            halves.append((one & two).sum() / (one | two).sum())
        assert row["ceiling"] == pytest.approx(np.mean(halves), rel=1e-6)


def test_the_interval_of_an_overlap_leaves_out_groups_of_examples(case):
    """The delete-m_j jackknife, written out over the folds that hold an example."""
    view, items, _ = case
    matrices = matrices_of(view.layers)
    (measure,) = feed([Overlap(SPANS, matrices)], view, [items])
    folds = np.array([group_of(item.example_id) // 2 for item in items])
    present = np.unique(folds)
    assert len(present) > 3

    def values(chosen):
        (part,) = feed([Overlap(SPANS, matrices)], view, [chosen])
        return {(r["layer"], r["matrix"], r["sparsity"]): r["iou"] for r in rows_of(part, "overlap")}

    without = [values([i for i, f in zip(items, folds, strict=True) if f != fold]) for fold in present]
    share = np.array([len(items) / (folds == fold).sum() for fold in present])
    for row in rows_of(measure, "overlap"):
        left = np.array([found[row["layer"], row["matrix"], row["sparsity"]] for found in without])
        centre = len(present) * row["iou"] - ((1 - 1 / share) * left).sum()
        pseudo = share * row["iou"] - (share - 1) * left
        error = np.sqrt(((pseudo - centre) ** 2 / (share - 1)).mean())
        # As many equal groups as these are worth (Kish).
        worth = len(items) ** 2 / ((len(items) / share) ** 2).sum()
        half = student.ppf(0.975, worth - 1) * error
        assert row["high"] - row["low"] == pytest.approx(2 * half, rel=1e-6)
        assert row["n"] == len(items)
    (alone,) = feed([Overlap(SPANS, matrices)], view, [[i for i, f in zip(items, folds, strict=True) if f == folds[0]]])
    assert {r["low"] for r in rows_of(alone, "overlap")} == {None}


def test_overlap_by_task(case):
    view, items, _ = case
    task_of = {item.example_id: "yes/no" if k < 4 else "question" for k, item in enumerate(items[:8])}
    (measure,) = feed([Overlap(SPANS, matrices_of(view.layers), task_of=task_of)], view, [items])
    rows = rows_of(measure, "overlap_tasks")
    pairs = {(r["a"], r["b"]) for r in rows}
    assert pairs == {
        ("image [question]", "image [yes/no]"),
        ("question [question]", "question [yes/no]"),
        ("image [question]", "question [question]"),
        ("image [yes/no]", "question [yes/no]"),
    }
    (alone,) = feed([Overlap(SPANS, matrices_of(view.layers))], view, [items[:4]])
    expected = {(r["layer"], r["matrix"], r["sparsity"]): r["iou"] for r in rows_of(alone, "overlap")}
    for row in rows:
        if (row["a"], row["b"]) == ("image [yes/no]", "question [yes/no]"):
            assert row["iou"] == pytest.approx(expected[row["layer"], row["matrix"], row["sparsity"]])
    (whole,) = feed([Overlap(SPANS, matrices_of(view.layers))], view, [items])
    assert rows_of(whole, "overlap") == rows_of(measure, "overlap")


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_random_null(sparsity):
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(kept(rng.random((400, 200)), sparsity)) for _ in range(2))
    share = 1 - sparsity
    assert random_overlap(a) == pytest.approx(share / (2 - share))
    assert random_overlap(a) == pytest.approx(float((a & b).sum() / (a | b).sum()), abs=0.01)


def test_vocabulary(case):
    view, items, states = case

    def unembed(x):
        with torch.no_grad(), no_upcasts(torch.float64):
            return view.unembed(x)

    made = Vocabulary(SPANS, (0, 2, 4), unembed, str, tokens=1000, as_released=True)
    (measure,) = feed([made], view, [items[:5], items[5:]])
    found = {(r["span"], r["layer"], r["quantity"], r["against"]): r for r in rows_of(measure, "vocabulary")}

    def logs(index, span, layer):
        x = states[index][layer, items[index].spans[span]]
        return log_softmax(unembed(torch.from_numpy(x)).numpy(), axis=-1)

    def kl(log_p, log_q):
        return (np.exp(log_p) * (log_p - log_q)).sum(-1)

    def js(log_p, log_q):
        middle = np.logaddexp(log_p, log_q) - np.log(2)
        return (kl(log_p, middle) + kl(log_q, middle)) / 2

    def mean(index, span, layer):
        return np.log(np.exp(logs(index, span, layer)).mean(0))

    n, each = len(items), range(len(items))
    for layer in (0, 2, 4):
        for span in SPANS:
            expected = np.mean([-(np.exp(lp) * lp).sum(-1).mean() for lp in (logs(i, span, layer) for i in each)])
            assert found[span, layer, "entropy", ""]["mean"] == pytest.approx(expected, rel=1e-6)
        between = {
            ("image", "kl", "question"): [kl(mean(i, "image", layer), mean(i, "question", layer)) for i in each],
            ("question", "kl", "image"): [kl(mean(i, "question", layer), mean(i, "image", layer)) for i in each],
            ("image", "js", "question"): [js(mean(i, "image", layer), mean(i, "question", layer)) for i in each],
            ("image", "kl_sticky", "question"): [kl(mean(i, "image", 0), mean(i, "question", layer)) for i in each],
        }
        for (a, quantity, b), values in between.items():
            row = found[a, layer, quantity, b]
            assert row["mean"] == pytest.approx(np.mean(values), rel=1e-5)
            assert row["n"] == n
    for span in SPANS:
        pairs = [(logs(i, span, 0), logs(i, span, 2)) for i in each]
        assert found[span, 0, "kl", "state 2"]["mean"] == pytest.approx(
            np.mean([kl(*p).mean() for p in pairs]), rel=1e-5
        )
        assert found[span, 0, "js", "state 2"]["mean"] == pytest.approx(
            np.mean([js(*p).mean() for p in pairs]), rel=1e-5
        )
    top = np.concatenate([logs(i, "image", 2).argmax(-1) for i in each])
    ids, counts = np.unique(top, return_counts=True)
    nearest = [r for r in rows_of(measure, "nearest") if (r["span"], r["layer"], r["k"]) == ("image", 2, 1)]
    shares = dict(zip(ids.tolist(), counts / counts.sum(), strict=True))
    assert {r["token_id"]: r["share"] for r in nearest} == pytest.approx(
        dict(sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:20])
    )
    five = np.concatenate([np.sort(logs(i, "image", 2), axis=-1)[:, -5] for i in each])
    among = np.concatenate([logs(i, "image", 2) for i in each]) >= five[:, None]
    for row in rows_of(measure, "nearest"):
        if (row["span"], row["layer"], row["k"]) == ("image", 2, 5):
            assert row["share"] == pytest.approx(among[:, row["token_id"]].mean())
    bins = [r for r in rows_of(measure, "histogram") if (r["span"], r["layer"], r["k"]) == ("image", 2, 5)]
    assert sum(r["share"] for r in bins) == pytest.approx(1)
    for row in bins:
        assert row["share"] == pytest.approx(among[:, row["start"] : row["stop"]].sum() / among.sum())
    sticky = [kl(logs(i, "image", 0), logs(i, "image", 4)).mean() for i in each]
    assert found["image", 2, "kl_sticky", "state 4"]["mean"] == pytest.approx(np.mean(sticky), rel=1e-5)
    assert ("question", 2, "kl_sticky", "state 4") not in found


def test_geometry(case):
    view, items, states = case
    (measure,) = feed([Geometry(SPANS, (0, 3))], view, [items])
    tables = measure.tables()
    means = {s: np.stack([x[3, i.spans[s]].mean(0) for x, i in zip(states, items, strict=True)]) for s in SPANS}
    rows = {(r["span"], r["layer"], r["quantity"]): r for r in tables["geometry"]}
    values = np.linalg.eigvalsh(np.cov(means["image"].T)).clip(min=0)
    shares = values[values > values.max() * 1e-10] / values.sum()
    assert rows["image", 3, "effective_rank"]["mean"] == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum()), rel=1e-4
    )
    assert rows["image", 3, "cka"]["mean"] == pytest.approx(cka(means["image"], means["question"]), abs=1e-4)
    assert rows["image", 3, "cka"]["n"] == 9
    assert {(r["layer"], r["method"]) for r in tables["map"]} == {(0, "pca"), (0, "tsne"), (3, "pca"), (3, "tsne")}
    assert len(tables["map"]) == 2 * 2 * 18


def test_cka_is_invariant_unbiased_and_one_on_itself():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 12))
    turned = 3 * x @ special_ortho_group.rvs(12, random_state=0) + 5
    assert cka(x, turned) == pytest.approx(1)
    # Fewer examples than dimensions: the usual estimator gives about 0.9 for unrelated clouds, this one 0.
    unrelated = [cka(rng.standard_normal((20, 200)), rng.standard_normal((20, 200))) for _ in range(200)]
    assert abs(np.mean(unrelated)) < 0.02
    assert cka(x, np.ones((40, 3))) == 0


def test_effective_rank_counts_equal_axes():
    x = np.concatenate([np.eye(5), -np.eye(5)]) @ np.eye(5, 30)
    assert effective_rank(x) == pytest.approx(5)
    assert effective_rank(np.ones((6, 4))) == 0


def test_pca_finds_the_long_axis():
    rng = np.random.default_rng(1)
    t = rng.standard_normal(50)
    x = np.outer(t, np.array([3.0, 4.0, 0.0])) + 1e-6 * rng.standard_normal((50, 3))
    found = pca(x)
    assert abs(np.corrcoef(found[:, 0], t)[0, 1]) == pytest.approx(1)
    assert found.var(axis=0)[1] < 1e-9
