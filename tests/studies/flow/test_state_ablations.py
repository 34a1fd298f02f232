"""Mean and resample ablation of spans: what is put in, what stands beside it, and what is said of it."""

import pytest
import torch
from tests.studies.flow import flow_runs
from tests.support import factories

from chiasm.core.claims import of_kind
from chiasm.core.errors import ChiasmError
from chiasm.interventions import Patch, Variant, Window
from chiasm.models.executors.jobs import Job, RecordedStates
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.loading import wrap
from chiasm.results.claims import read_claims
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.state_means import mean_states, others
from chiasm.studies.flow.swaps import Donors
from chiasm.studies.flow.tables import KNOCKOUT, SIZE_MATCHED

MEAN, OTHER = "ablate:mean@image", "ablate:resample@image"
CUTS = (MEAN, OTHER, "ablate:mean@question", "image->between+question+suffix+last")


@pytest.fixture(scope="module")
def view():
    return flow_runs.view_of()


@pytest.fixture(scope="module")
def chosen():
    return flow_runs.examples(6)


@pytest.fixture(scope="module")
def run(view, chosen):
    return flow_runs.run(view, chosen, baseline=flow_runs.view_of(seed=1), cuts=CUTS, random_models=2)


def states_of(view, encoded):
    """Every state of a plain forward, by transformers' own collection; the last one comes normed and is left out."""
    with torch.no_grad():
        found = view.model(**encoded.inputs, output_hidden_states=True, use_cache=False).hidden_states
    return torch.stack([one[0] for one in found[:-1]])


def test_means_are_those_of_tokens_and_then_of_examples(view, chosen):
    found = mean_states(view, chosen, ("image", "question"), LockstepExecutor(), instruction="")
    plain = [(one := view.encode(example, instruction=""), states_of(view, one)) for example in chosen]
    states = found.states.states["residual"][:-1]
    for span in ("image", "question"):
        own = torch.stack([s[:, e.spans[span]].mean(1) for e, s in plain]).mean(0)
        rest = torch.stack([s[:, others(e.spans, span)].mean(1) for e, s in plain]).mean(0)
        assert float((states[:, found.place(span)] - own).abs().max()) <= 1e-9
        assert float((states[:, found.place(span, elsewhere=True)] - rest).abs().max()) <= 1e-9
        assert found.counts[span] == len(chosen)


def test_means_do_not_depend_on_the_order_of_the_examples(view, chosen):
    one, other = (
        mean_states(view, order, ("image",), LockstepExecutor(), instruction="") for order in (chosen, chosen[::-1])
    )
    assert float((one.states.states["residual"] - other.states.states["residual"]).abs().max()) <= 1e-12


def test_rows_are_what_plain_hooked_forwards_give(run, view, chosen):
    """Replaced in the window, its own behind it: each through the reference, from states read by transformers."""
    encoded = [view.encode(example) for example in chosen]
    plain = [torch.cat([states_of(view, one), torch.zeros(1, one.length, view.width)]) for one in encoded]
    mean = torch.stack([s[:, e.spans["image"]].mean(1) for e, s in zip(encoded, plain, strict=True)]).mean(0)
    donors, at = Donors(chosen, 0), {example.id: k for k, example in enumerate(chosen)}
    for k, example in enumerate(chosen[:3]):
        image = tuple(encoded[k].spans["image"].tolist())
        theirs = at[donors.of(example).id]
        own, given = RecordedStates({"residual": plain[k]}), RecordedStates({"residual": mean[:, None]})
        other = RecordedStates({"residual": plain[theirs][:, encoded[theirs].spans["image"]]})
        for cut, donor, places in ((MEAN, 0, (0,) * len(image)), (OTHER, 1, tuple(range(len(image))))):
            rows = run.table("effects").filter(example_id=example.id, cut=cut).sort("layer")
            for row in rows.iter_rows(named=True):
                start, stop = row["start"], row["stop"]
                changes = [Patch(Window(start, stop, start), "residual", image, places, donor)]
                if stop < view.n_layers:
                    changes.append(Patch(Window(stop, view.n_layers, stop), "residual", image, image, 2))
                job = Job(encoded[k], (Variant(cut, tuple(changes)),), donors=(given, other, own))
                found = ReferenceExecutor().run(view, [job])[0]
                assert row["logprob_clean"] == pytest.approx(float(found.clean[0]), abs=1e-9)
                assert row["logprob_cut"] == pytest.approx(float(found.logprobs[0, 0]), abs=1e-9)
            assert (rows["logprob_cut"] - rows["logprob_clean"]).abs().max() > 0.01


def test_the_same_numbers_from_the_reference_executor(run, view, chosen):
    plain = flow_runs.run(
        view, chosen, baseline=flow_runs.view_of(seed=1), cuts=CUTS, random_models=2, executor="reference"
    )
    for name in ("effects", "controls"):
        ours, theirs = run.table(name), plain.table(name)
        key = ["example_id", "cut", "layer", *(["control", "sample"] if name == "controls" else [])]
        both = ours.join(theirs, on=key, suffix="_plain", validate="1:1")
        assert both.height == ours.height == theirs.height
        assert (both["logprob_cut"] - both["logprob_cut_plain"]).abs().max() <= 1e-9


def test_from_layer_0_another_examples_image_is_its_image_shown(view, chosen):
    """Where all rows of the image are the donor's from the first layer on, that is the swapped control."""
    run = flow_runs.run(view, chosen, cuts=(OTHER, "image->last"), windows="suffix", window=None)
    ours = run.table("effects").filter(cut=OTHER, layer=0).sort("example_id")["logprob_cut"]
    swapped = run.table("controls").filter(control="image-swap", cut="image->last", layer=0).sort("example_id")
    assert (ours - swapped["logprob_cut"]).abs().max() <= 1e-9


def test_what_stands_beside_it(run, view):
    controls = run.table("controls")
    beside = {cut: set(controls.filter(cut=cut)["control"]) for cut in CUTS}
    assert {KNOCKOUT, "twin", SIZE_MATCHED} <= beside[MEAN]
    assert {KNOCKOUT, "twin", SIZE_MATCHED} <= beside["ablate:mean@question"]
    assert "blank" not in beside[MEAN]
    hidden = controls.filter(cut=MEAN, control=KNOCKOUT).sort("example_id", "layer")
    cut = run.table("effects").filter(cut=CUTS[-1]).sort("example_id", "layer")
    assert (hidden["logprob_cut"] - cut["logprob_cut"]).abs().max() <= 1e-9, "the knockout of the same span"


def test_a_span_that_leaves_too_few_others_is_replaced_in_part(view, chosen):
    """Half of it costs less than all of it, if the other half says the same; where all is replaced nothing is left."""
    run = flow_runs.run(view, chosen[:2], cuts=("ablate:mean@prefix+image+question",))
    assert {"dose-0.25", "dose-0.5", "dose-0.75", KNOCKOUT} == set(run.table("controls")["control"])


def test_the_difference_to_the_knockout_is_a_claim(run):
    claims = read_claims(run.table("claims"))
    found = of_kind(claims, "value-path", MEAN)
    effects, hidden = of_kind(claims, "effect", MEAN), of_kind(claims, "knockout", MEAN)
    assert len(found) == len(effects) == len(hidden) == flow_runs.LAYERS
    for difference, effect, other in zip(found, effects, hidden, strict=True):
        assert difference.effect == pytest.approx(effect.effect - other.effect, abs=1e-9)
        assert difference.control_effect == pytest.approx(other.effect, abs=1e-9)
        assert difference.n == 6
        assert difference.low <= difference.effect <= difference.high
    said = " ".join(one.text for one in flow_findings(claims, layers=4))
    assert "Replacing the states of image by their mean over examples (ablate:mean@image)" in said
    assert "beside hiding that span from all rows behind it" in said


def test_donors_have_as_many_tokens_or_the_example_is_left_out(view):
    words = ["What is it?", "What is the red thing on the left of it?"]
    chosen = [one for k in range(4) for one in flow_runs.examples(k + 1, question=words[k == 3])[k:]]
    run = flow_runs.run(view, chosen, cuts=("ablate:resample@question", "image->last"))
    assert run.table("effects").filter(cut="ablate:resample@question")["example_id"].n_unique() == 3
    (skipped,) = (one for one in run.skipped() if "ablate:resample@question" in one["reason"])
    assert skipped["example_id"] == chosen[3].id
    assert "no other example has `question` of" in skipped["reason"]


def test_as_served_in_half_precision_rounding_is_measured_for_ablations_too():
    """From the same states in float32: the example's own are read anew there, the mean is the one that was put in."""
    view = wrap(*factories.build("llava", dtype=torch.bfloat16, layers=4, seed=0), dtype="bfloat16")
    chosen = flow_runs.examples(3, size=(48, 48), question="What is it?")
    run = flow_runs.run(view, chosen, cuts=(MEAN, OTHER), windows="prefix", window=None, controls=False)
    rounding = run.table("rounding")
    assert set(rounding["cut"]) == {MEAN, OTHER}
    assert rounding.height == 3 * 2 * 4
    off = (rounding["change_served"] - rounding["change_raised"]).abs()
    assert 0 < off.max() < 1
    assert rounding["change_raised"].abs().max() > 1


def test_bad_input():
    with pytest.raises(ChiasmError, match="no span `imag`"):
        FlowSpec(model="tiny", cuts=["ablate:mean@imag"])
    with pytest.raises(ChiasmError, match="span `video`: this example has"):
        flow_runs.run(flow_runs.view_of(), flow_runs.examples(2, question=" "), cuts=["ablate:mean@video"])


def test_a_random_model_claims_nothing():
    run = flow_runs.run(
        flow_runs.view_of(), flow_runs.examples(10), baseline=flow_runs.view_of(seed=1), cuts=(MEAN,), windows="suffix",
        window=None, random_models=3,
    )  # fmt: skip
    assert not [one for one in of_kind(read_claims(run.table("claims")), "effect") if one.established]
