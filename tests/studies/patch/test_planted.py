"""On a model whose routes are known patching says where the answer is carried, to the layer, and nothing else."""

import pytest
import torch
from tests.studies.patch import patch_runs
from tests.support import factories
from tests.support.float64 import no_upcasts
from tests.support.planted import PlantedLlama

from chiasm.core.claims import of_kind
from chiasm.models.view import ModelView
from chiasm.results.claims import read_claims
from chiasm.studies.patch.agreement import layer_curves
from chiasm.studies.run import Run

ENTER, LEAVE = 0, 2


@pytest.fixture(scope="module")
def found():
    """Image reaches the question in layer `ENTER` alone, the question the last position in layer `LEAVE`."""
    model, processor = factories.build("llava", dtype=torch.float64, layers=patch_runs.LAYERS)
    text = model.model.language_model
    planted = PlantedLlama(text.config).double().eval()
    planted.load_state_dict(text.state_dict())
    model.model.language_model = planted
    model.set_attn_implementation("sdpa")
    view = ModelView(model, processor, name="planted")
    chosen = patch_runs.examples(40)
    planted.plant(view.encode(chosen[0]).spans, ENTER, LEAVE)
    with no_upcasts(torch.float64):
        patch_runs.telling_apart(view, 200.0)
        return patch_runs.run(view, chosen, spans=("image", "question", "last"), smallest_gap=1e-3)


def carried(layer: int) -> dict[str, float]:
    return {
        "image": float(layer <= ENTER),
        "question": float(ENTER < layer <= LEAVE),
        "last": float(layer > LEAVE),
    }


def test_the_answer_is_where_the_routes_say(found):
    effects = found.table("effects").drop_nulls("recovery")
    assert effects["example_id"].n_unique() >= 8
    for row in effects.iter_rows(named=True):
        expected = carried(row["layer"])[row["span"]]
        assert row["recovery"] == pytest.approx(expected, abs=1e-5), row
        assert row["recovery_odds"] == pytest.approx(expected, abs=1e-5), row


def test_patching_and_knockout_name_the_same_layer(found):
    effects, cuts = found.table("effects"), found.table("knockouts")
    for cut, layer in (("image->question", ENTER), ("question->last", LEAVE)):
        curves = layer_curves(effects, cuts.filter(cut=cut), cut)
        assert curves is not None
        assert (curves.moved.argmax(axis=1) == layer).all()
        assert (abs(curves.cut).argmax(axis=1) == layer).all()
    apart = {one.about: one for one in of_kind(read_claims(found.table("claims")), "agreement-layer")}
    assert apart["question->last"].effect == 0


def test_the_sentence_says_it(found):
    claims = read_claims(found.table("claims"))
    most = {(one.about.partition(",")[0], int(one.where)) for one in of_kind(claims, "most") if one.found}
    assert most == {("image", 0), ("question", 1), ("question", 2), ("last", 3)}
    text = Run(found).reporter.headline()
    assert text.startswith(
        "The image's states carry most of the answer in layer 0 (in layer 0 they are the other input itself)"
    )
    assert "; the question's states in layers 1 to 2; " in text
    assert "those of the last position in layer 3" in text
