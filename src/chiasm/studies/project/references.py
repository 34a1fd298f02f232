"""The rows that need no language model: chance, the tower's own zero-shot answers, classifiers on its CLS."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chiasm.core.media import load_image
from chiasm.core.statistics.crossed import guessing, macro_f1_parts
from chiasm.models.contrastive import label_similarity
from chiasm.studies.project.prepared import PreparedDomain
from chiasm.studies.project.scores import scores
from chiasm.studies.project.tables import IMAGE_LINEAR, IMAGE_MLP, RANDOM, TOWER

_HIDDEN = (512, 256)
_EPOCHS, _PATIENCE = 200, 10
_PENALTY = 0.1
_DRAWS, _BOUNDS = 1000, (2.5, 97.5)


def references(prepared: PreparedDomain, seeds: list[int], contrastive: Path | str | None) -> list[dict[str, Any]]:
    """Rows of the table `references` for one domain.

    The image-only MLP stands on CLS after its last norm, standardised, with two hidden layers, stopped early by the
    validation part; the paper's has five layers and its input is unknown. Logistic regression (C = 0.1) beside it
    says how far a line goes.
    """
    domain = prepared.domain
    truth = [item.label for item in domain.test]
    rows: list[dict[str, Any]] = []
    chance = uniform_guessing(truth, domain.classes)
    rows += [{"domain": domain.name, "reference": RANDOM, "seed": seed, **chance} for seed in seeds]
    if prepared.reused:
        known, shown = (prepared.features(part).pooled.numpy() for part in ("train", "test"))
        labels = [item.label for item in domain.train]
        line = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, max_iter=2000)).fit(known, labels)
        rows.append(_row(domain.name, IMAGE_LINEAR, seeds[0], truth, line.predict(shown).tolist()))
        rows += [_row(domain.name, IMAGE_MLP, seed, truth, _mlp(prepared, seed)) for seed in seeds]
    if contrastive is not None:
        images = [load_image(item.image) for item in domain.test]
        best = label_similarity(contrastive, images, domain.classes).argmax(-1).tolist()
        rows.append(_row(domain.name, TOWER, seeds[0], truth, [domain.classes[place] for place in best]))
    return rows


def uniform_guessing(truth: list[str], classes: Sequence[str]) -> dict[str, float | int]:
    """The scores of answers drawn uniformly from `classes`: their expectation, and where 95 % of such draws lie."""
    known, n = [truth.count(name) for name in dict.fromkeys(truth)], len(truth)
    draws = np.random.default_rng(0).choice(list(classes), (_DRAWS, n))
    f1 = np.percentile([macro_f1_parts(truth, [list(drawn)]).mean for drawn in draws], _BOUNDS)
    right = np.percentile((draws == np.array(truth)).mean(axis=1), _BOUNDS)
    return {
        "macro_f1": guessing(known, len(classes)),
        "macro_f1_low": float(f1[0]),
        "macro_f1_high": float(f1[1]),
        "accuracy": 1 / len(classes),
        "accuracy_low": float(right[0]),
        "accuracy_high": float(right[1]),
        "n": n,
    }


def _mlp(prepared: PreparedDomain, seed: int) -> list[str]:
    """Answers to the test of the MLP after the epoch that the validation part likes best."""
    domain = prepared.domain
    scaler = StandardScaler().fit(prepared.features("train").pooled.numpy())

    def shown(part: str) -> Float[np.ndarray, "n V"]:
        return np.asarray(scaler.transform(prepared.features(part).pooled.numpy()))

    known, labels = shown("train"), [item.label for item in domain.train]
    judging = shown("validation") if domain.validation else known
    judged = [item.label for item in domain.validation] or labels
    mlp, best, waited = MLPClassifier(_HIDDEN, random_state=seed), (-1.0, None), 0
    for _ in range(_EPOCHS):
        mlp.partial_fit(known, labels, classes=sorted(domain.classes))
        score = float(mlp.score(judging, judged))
        if score > best[0]:
            best, waited = (score, copy.deepcopy(mlp)), 0
        elif (waited := waited + 1) == _PATIENCE:
            break
    assert best[1] is not None
    return np.asarray(best[1].predict(shown("test"))).tolist()


def _row(domain: str, reference: str, seed: int, truth: list[str], answers: list[str]) -> dict[str, Any]:
    return {"domain": domain, "reference": reference, "seed": seed, **scores(truth, answers)}
