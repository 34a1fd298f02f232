"""Masks on weights: taken back to the bit, exported, reloaded, refused."""

import json
from dataclasses import replace

import pytest
import torch
from tests.support import factories
from transformers import AutoModelForImageTextToText

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import ABLATIONS, MaskSpec
from chiasm.models.loading import load, wrap
from chiasm.models.pruning.calibrate import InputNorms
from chiasm.models.pruning.linears import matrices
from chiasm.models.pruning.weights import ABOUT, MASK, export, load_mask, make_mask, masked, save_mask

MAGNITUDE = MaskSpec(method="magnitude-row", sparsity=0.5)


def view_of(family="llava", **options):
    return wrap(*factories.build(family, **({"layers": 2} | options)), name=family)


def norms_of(view, seed):
    draw = torch.Generator().manual_seed(seed)
    every, centred = (
        {m.name: torch.rand(m.linear.in_features, generator=draw).double() for m in matrices(view)} for _ in range(2)
    )
    return InputNorms(every, 128, centred)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", factories.FAMILIES)
def test_every_bit_is_put_back(family, dtype):
    view = view_of(family, dtype=dtype)
    with torch.no_grad():
        # Zeros of either sign, and NaN, have bits too.
        weight = matrices(view)[0].linear.weight
        weight[0, :3] = torch.tensor([-0.0, 0.0, float("nan")])
    before = view.fingerprint()
    mask = make_mask(view, MaskSpec(method="random", sparsity=0.5))
    with masked(view, mask):
        assert view.fingerprint() != before
        for matrix in matrices(view):
            assert not matrix.linear.weight[~mask.kept(matrix.name)].any()
            assert torch.equal(matrix.linear.weight != 0, mask.kept(matrix.name) & (matrix.linear.weight != 0))
    assert view.fingerprint() == before


def test_every_bit_is_put_back_after_an_error():
    view = view_of()
    before, mask = view.fingerprint(), make_mask(view, MAGNITUDE)
    with pytest.raises(KeyboardInterrupt), masked(view, mask):
        raise KeyboardInterrupt
    assert view.fingerprint() == before


def test_a_pruned_model_loads_in_plain_transformers(tmp_path):
    view = view_of()
    before = view.fingerprint()
    mask = make_mask(view, MaskSpec(method="random", sparsity=0.3, seed=5))
    folder = export(view, mask, tmp_path / "deep" / "pruned")
    assert view.fingerprint() == before
    reloaded = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
    with masked(view, mask):
        for (name, ours), theirs in zip(view.model.state_dict().items(), reloaded.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), name
        inputs = view.encode(factories.example()).inputs
        assert torch.equal(view.model(**inputs).logits, load(folder).model(**inputs).logits)


def test_the_mask_file_has_one_bit_per_weight(tmp_path):
    view = view_of()
    mask = make_mask(
        view, MaskSpec(method="mean-score", sparsity=0.5, calibrations=("a", "b")), [norms_of(view, s) for s in (1, 2)]
    )
    save_mask(mask, tmp_path)
    weights = sum(m.linear.weight.numel() for m in matrices(view))
    assert sum(len(bits) for bits in mask.bits.values()) == weights / 8
    read = load_mask(tmp_path)
    assert read.spec == mask.spec
    assert read.weights == view.fingerprint()
    assert read.shapes == mask.shapes
    assert all(torch.equal(read.kept(name), mask.kept(name)) for name in mask.bits)
    assert json.loads((tmp_path / ABOUT).read_text())["sparsity"] == mask.sparsity == 0.5


def test_a_mask_that_was_read_applies(tmp_path):
    view = view_of()
    save_mask(make_mask(view, MAGNITUDE), tmp_path)
    with masked(view, load_mask(tmp_path)):
        assert float((matrices(view)[0].linear.weight == 0).double().mean()) == 0.5


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"layers": 3}, "only one of them has the matrix"),
        ({"seed": 1}, "shapes agree but the weights do not"),
    ],
)
def test_a_mask_for_another_model(other, message):
    mask = make_mask(view_of(), MAGNITUDE)
    view = view_of(**other)
    before = view.fingerprint()
    with pytest.raises(ChiasmError, match=f"mask is for another model.*{message}"), masked(view, mask):
        pass
    assert view.fingerprint() == before


def test_a_mask_of_another_shape():
    view = view_of()
    mask = make_mask(view, MAGNITUDE)
    with torch.no_grad():
        matrices(view)[1].linear.weight = torch.nn.Parameter(torch.zeros(8, 48))
    with pytest.raises(ChiasmError, match=r"is \(8, 48\) here and"), masked(view, mask, same_weights=False):
        pass


def test_a_mask_on_a_fine_tuned_copy():
    mask = make_mask(view_of(), MAGNITUDE)
    view = view_of(seed=1)
    with masked(view, mask, same_weights=False):
        assert not matrices(view)[0].linear.weight[~mask.kept("0.self_attn.q_proj")].any()


def test_a_folder_in_use(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ChiasmError, match="not empty"):
        export(view_of(), make_mask(view_of(), MAGNITUDE), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_no_mask_there(tmp_path):
    with pytest.raises(ChiasmError, match="holds no chiasm-mask"):
        load_mask(tmp_path)


@pytest.mark.parametrize("file", [MASK, ABOUT])
def test_a_damaged_mask(tmp_path, file):
    save_mask(make_mask(view_of(), MAGNITUDE), tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:40])
    with pytest.raises(ChiasmError, match="damaged"):
        load_mask(tmp_path)


def test_a_mask_without_one_of_its_matrices(tmp_path):
    save_mask(make_mask(view_of(), MAGNITUDE), tmp_path)
    about = json.loads((tmp_path / ABOUT).read_text())
    about["shapes"].pop("1.mlp.up_proj")
    (tmp_path / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ChiasmError, match=r"`1\.mlp\.up_proj` has no mask of its shape"):
        load_mask(tmp_path)


def test_magnitude_within_a_matrix_and_within_rows():
    view = view_of()
    whole, rows = (make_mask(view, MaskSpec(method=m, sparsity=0.5)) for m in ("magnitude", "magnitude-row"))
    name = "0.self_attn.q_proj"
    assert whole.sparsity == rows.sparsity == 0.5
    assert len(set(rows.kept(name).sum(dim=1).tolist())) == 1
    assert len(set(whole.kept(name).sum(dim=1).tolist())) > 1
    weight = matrices(view)[0].linear.weight.abs()
    assert weight[whole.kept(name)].min() > weight[~whole.kept(name)].max()


@pytest.mark.parametrize("method", ["intersection", "majority", "mean-score"])
def test_combinations_keep_their_sparsity(method):
    view = view_of()
    norms = [norms_of(view, seed) for seed in range(4)]
    spec = MaskSpec(method=method, sparsity=0.5, calibrations=("a", "b", "c", "d"))
    mask = make_mask(view, spec, norms)
    assert mask.sparsity == 0.5
    each = [make_mask(view, MaskSpec(method="wanda", sparsity=0.5, calibrations=("x",)), [one]) for one in norms]
    for name in mask.bits:
        common = torch.stack([one.kept(name) for one in each]).all(dim=0)
        assert float(common.double().mean()) < 0.5, "the plain AND is sparser than the masks"
        if method == "intersection":
            assert bool((~common | mask.kept(name)).all())


def test_the_released_intersection_is_the_plain_and_of_masks():
    view = view_of()
    norms = [norms_of(view, seed) for seed in range(4)]
    made = make_mask(
        view, MaskSpec(method="intersection-released", sparsity=0.5, calibrations=("a", "b", "c", "d")), norms
    )
    each = [make_mask(view, MaskSpec(method="wanda", sparsity=0.5, calibrations=("x",)), [one]) for one in norms]
    for name in made.bits:
        assert torch.equal(made.kept(name), torch.stack([one.kept(name) for one in each]).all(dim=0))
    assert 0.5 < made.sparsity < 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "wanda"}, "0 calibrations"),
        ({"method": "majority", "calibrations": ("a",)}, "1 calibrations"),
        ({"method": "random", "calibrations": ("a",)}, "1 calibrations"),
        ({"method": "sparsegpt"}, "the method `sparsegpt`"),
        ({"method": "random", "part": "norms"}, "the part `norms`"),
        ({"method": "wanda-cumulative", "pattern": "2:4", "calibrations": ("a",)}, "zeroes no N of M"),
        ({"method": "ablate-common", "calibrations": ("a", "b")}, "only ablations have it"),
        ({"method": "ablate-common", "calibrations": ("a",), "within": 0.5}, "1 calibrations"),
        ({"method": "random", "sparsity": 0.0}, "leaves every weight"),
        ({"method": "random", "sparsity": 1.0}, "leaves no weight"),
        ({"method": "random", "sparsity": 0.3, "pattern": "2:4"}, "zeroes 0.5"),
    ],
)
def test_specs_that_make_no_sense(given, message):
    with pytest.raises(ChiasmError, match=message):
        MaskSpec(**({"sparsity": 0.5} | given))


@pytest.mark.parametrize("method", ABLATIONS)
def test_ablations_zero_as_many_from_their_own_sets(method):
    view = view_of()
    norms = [norms_of(view, seed) for seed in range(2)]
    spec = MaskSpec(method=method, sparsity=0.02, calibrations=("a", "b"), within=0.5)
    zeroed = make_mask(view, spec, norms)
    first, second = (
        make_mask(view, MaskSpec(method="wanda", sparsity=0.5, calibrations=("x",)), [one]) for one in norms
    )
    counts = {
        name: {m: int((~make_mask(view, replace(spec, method=m), norms).kept(name)).sum()) for m in ABLATIONS}
        for name in list(zeroed.bits)[:3]
    }
    assert all(len(set(each.values())) == 1 and each[method] > 0 for each in counts.values())
    for name in zeroed.bits:
        gone, a, b = ~zeroed.kept(name), first.kept(name), second.kept(name)
        own = {"ablate-common": a & b, "ablate-first": a & ~b, "ablate-second": b & ~a}.get(method, a | True)
        assert bool(own[gone].all())
