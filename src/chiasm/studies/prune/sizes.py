"""What masks leave out, counted: weights, bytes, and products of a token with the decoder's weights."""

from typing import Any

from chiasm.interventions.masks import blocks
from chiasm.models.pruning.linears import matrices
from chiasm.models.pruning.masks import dropped
from chiasm.models.view import ModelView
from chiasm.studies.prune.spec import PruneSpec


def size_rows(spec: PruneSpec, view: ModelView) -> list[dict[str, Any]]:
    """Rows of the table `sizes`: exact, as every mask of a level zeroes as many weights of each output."""
    parameters = list(view.model.parameters())
    whole, stored = sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
    multiplied = sum(p.numel() for layer in view.layers for p in layer.parameters() if p.ndim > 1)
    rows = []
    for sparsity, pattern in spec.levels():
        shaped = blocks(pattern)
        for part in spec.parts:
            masked = zeroed = saved = 0
            for matrix in matrices(view, part):
                weight = matrix.linear.weight
                outputs, inputs = weight.shape
                count = outputs * (inputs * shaped[0] // shaped[1] if shaped else dropped(inputs, sparsity))
                masked, zeroed = masked + weight.numel(), zeroed + count
                # Where a weight stands takes one bit, in whole bytes per matrix.
                saved += count * weight.element_size() - -(-weight.numel() // 8)
            level = {"sparsity": sparsity, "pattern": pattern, "part": part}
            rows.append(
                level
                | {"weights": masked, "zeroed": zeroed, "parameters": whole, "bytes": stored, "bytes_saved": saved}
                | {"operations_share": zeroed / multiplied}
            )
    return rows
