"""What a model answers to a domain's test prompts: greedy text, parsed, and the most probable of all labels."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from chiasm.core.example import Example
from chiasm.data.domains import Domain, parsed
from chiasm.data.scoring import correct
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.labels import LabelScorer, LabelTokens, label_tokens
from chiasm.models.view import ModelView
from chiasm.studies.project.rows import Rows
from chiasm.studies.project.spec import MOST_TOKENS
from chiasm.training import frozen_tower


def labels_of(view: ModelView, domain: Domain) -> LabelTokens:
    """The tokens of the domain's classes."""
    first = domain.test[0]
    return label_tokens(view, Example(id=first.id, question="?", images=(first.image,)), domain.classes)


def answers(
    view: ModelView, domain: Domain, rows: Rows, labels: LabelTokens, unit: int, *, reused: bool
) -> list[dict[str, Any]]:
    """For every test picture: label, generated text, the class it names, and the most probable class."""
    found = []
    scorer = LabelScorer(view, labels)
    # A few tokens more than the longest label: enough to see that an answer says more than a label.
    most = min(MOST_TOKENS, max(map(len, labels)) + 4)
    with frozen_tower(view) if reused else nullcontext():
        for start in range(0, len(rows), unit):
            items = domain.test[start : start + unit]
            batch = [rows[index] for index in range(start, start + len(items))]
            said = generate(view, batch, most)
            best = scorer.scores(batch).argmax(-1).tolist()
            found += [
                {
                    "example_id": item.id,
                    "label": item.label,
                    "generated": answer.text,
                    "parsed": parsed(answer.text, domain.classes),
                    "constrained": domain.classes[place],
                }
                for item, answer, place in zip(items, said, best, strict=True)
            ]
    return found


def general_skill(view: ModelView, scenes: Sequence[Example], encoded: Sequence[Encoded], unit: int) -> float | None:
    """Share of right answers to questions that have nothing to do with the domain; None without any."""
    right = 0
    for start in range(0, len(scenes), unit):
        said = generate(view, encoded[start : start + unit], 8)
        pairs = zip(scenes[start : start + unit], said, strict=True)
        right += sum(correct(answer.text, example.answer) for example, answer in pairs)
    return right / len(scenes) if scenes else None
