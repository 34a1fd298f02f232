"""The rows that need no language model: chance, the tower's own zero-shot answers, classifiers on its CLS."""

import random
import warnings
from pathlib import Path
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chiasm.core.media import load_image
from chiasm.models.contrastive import label_similarity
from chiasm.results.project_schemas import IMAGE_LINEAR, IMAGE_MLP, RANDOM, TOWER
from chiasm.results.project_scores import scores
from chiasm.studies.project_rows import Prepared

_HIDDEN = (512, 256)
_PENALTY = 0.1


def references(prepared: Prepared, seeds: list[int], contrastive: Path | str | None) -> list[dict[str, Any]]:
    """Rows of the table `references` for one domain.

    The image-only MLP stands on CLS after its last norm, standardised, with two hidden layers, stopped early on a
    tenth of the training part; the paper's has five and its input is unknown. Logistic regression (C = 0.1) beside it
    says how far a line goes.
    """
    domain = prepared.domain
    truth = [item.label for item in domain.test]
    rows = []
    for seed in seeds:
        drawn = random.Random(f"uniform/{domain.name}/{seed}")
        rows.append(_row(domain.name, RANDOM, seed, truth, [drawn.choice(domain.classes) for _ in truth]))
    if prepared.reused:
        known, asked = prepared.features("train").pooled.numpy(), prepared.features("test").pooled.numpy()
        labels = [item.label for item in domain.train]
        line = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, max_iter=2000)).fit(known, labels)
        rows.append(_row(domain.name, IMAGE_LINEAR, seeds[0], truth, line.predict(asked).tolist()))
        for seed in seeds:
            mlp = MLPClassifier(_HIDDEN, early_stopping=True, n_iter_no_change=10, random_state=seed)
            with warnings.catch_warnings():
                # Reaching the most iterations is no fault: the weights of the best validation score are kept.
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted = make_pipeline(StandardScaler(), mlp).fit(known, labels)
            rows.append(_row(domain.name, IMAGE_MLP, seed, truth, fitted.predict(asked).tolist()))
    if contrastive is not None:
        images = [load_image(item.image) for item in domain.test]
        best = label_similarity(contrastive, images, domain.classes).argmax(-1).tolist()
        rows.append(_row(domain.name, TOWER, seeds[0], truth, [domain.classes[place] for place in best]))
    return rows


def _row(domain: str, reference: str, seed: int, truth: list[str], said: list[str]) -> dict[str, Any]:
    return {"domain": domain, "reference": reference, "seed": seed, **scores(truth, said)}
