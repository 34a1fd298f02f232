"""A certificate counts as long as nothing that it rests on has changed."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from tests.support.factories import build

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance import LAWS, Law, suite
from chiasm.models.conformance.suite import CAPABILITIES, ENCODED, certify
from chiasm.models.families import FAMILIES, certificates
from chiasm.models.families.base import version_numbers
from chiasm.models.families.certificates import FILE, Certificate, certified, fingerprint
from chiasm.models.support import Supported, supported
from chiasm.models.view import ModelView

LLAVA = next(family for family in FAMILIES if family.name == "llava")
NAMES = [ENCODED, *LAWS]


def test_every_family_has_a_current_certificate():
    """A red line here means: run `make certify`, then `make docs`."""
    found = certificates.certificates()
    assert sorted(found) == sorted(family.name for family in FAMILIES)
    stale = [family.name for family in FAMILIES if found[family.name].fingerprint != fingerprint(family)]
    assert not stale, "the family, the engine or the suite has changed since: make certify"


def test_certificates_name_every_law_and_enough_layers():
    for name, certificate in certificates.certificates().items():
        assert certificate.layers >= suite.MIN_LAYERS
        assert certificate.transformers, name
        for laws in certificate.transformers.values():
            assert list(laws) == NAMES, name


def test_every_family_was_tried_on_the_lowest_version():
    """A red line here means: run `make certify`, `make certify-lowest`, then `make docs`."""
    needed = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    (lowest,) = [text.removeprefix("transformers>=") for text in needed if text.startswith("transformers>=")]
    found = certificates.certificates()
    for family in FAMILIES:
        least = family.min_transformers or lowest
        assert version_numbers(least) >= version_numbers(lowest)
        if least == lowest:
            assert min(found[family.name].transformers, key=version_numbers).startswith(lowest), family.name


def test_every_no_has_a_reason():
    for certificate in certificates.certificates().values():
        for laws in certificate.transformers.values():
            assert all(verdict == "yes" or len(verdict.partition(": ")[2]) > 3 for verdict in laws.values())


def test_every_law_is_in_one_capability():
    assert sorted(law for laws in CAPABILITIES.values() for law in laws) == sorted(NAMES)


def whole(**laws):
    return Certificate(fingerprint(LLAVA), 4, {"5.0": dict.fromkeys(NAMES, "yes") | laws})


def test_a_mark_without_a_current_certificate_is_no_mark(monkeypatch):
    assert certified(LLAVA, {"llava": whole()}) == (True, "")
    assert certified(LLAVA, {}) == (False, "never tried by the suite")
    mark = whole()
    for changed in (
        "variant_groups.py",
        "painting.py",
        "llava.py",
        "base.py",
        "grids.py",
        "encoded.py",
        "attention_rows.py",
        "shortcuts.py",
    ):
        with monkeypatch.context() as patched:
            plain = certificates._digest
            patched.setattr(certificates, "_digest", lambda p, c=changed, f=plain: b"x" if p.name == c else f(p))
            ok, reason = certified(LLAVA, {"llava": mark})
        assert not ok, changed
        assert "has changed" in reason
    assert certified(LLAVA, {"llava": mark})[0]


def test_a_change_in_another_family_changes_nothing(monkeypatch):
    mark, plain = fingerprint(LLAVA), certificates._digest
    monkeypatch.setattr(certificates, "_digest", lambda p: b"x" if p.name == "qwen2_vl.py" else plain(p))
    assert fingerprint(LLAVA) == mark


def test_one_broken_law_takes_the_mark_away_and_one_that_does_not_apply_does_not():
    law = "a painted box is found at its tokens"
    ok, reason = certified(LLAVA, {"llava": whole(**{law: "no: two are swapped"})})
    assert not ok
    assert reason == f"{law}, transformers 5.0: two are swapped"
    assert certified(LLAVA, {"llava": whole(**{law: "-: it hears"})})[0]


def test_a_capability_is_what_its_laws_are():
    verdicts = {
        "tokens of images and frames have places": "-: none",
        "two questions on one input": "no: wrong",
        "cuts against the order of reading": "-: one way",
    }
    row = Supported(LLAVA, True, "", whole(**verdicts)).row()
    can = row["transformers"]["5.0"]
    assert can["boxes"] == "yes"
    assert can["shared questions"] == "no: wrong"
    assert can["reversed cuts"] == "-: one way"
    assert (
        Supported(LLAVA, True, "", Certificate("", 4, {"5.0": {}})).row()["transformers"]["5.0"]["lens"]
        == "no: not tried"
    )


def test_rows_are_json_and_follow_the_registry():
    rows = [one.row() for one in supported()]
    assert [row["family"] for row in rows] == [family.name for family in FAMILIES]
    assert json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize(("layers", "dtype"), [(3, torch.float64), (4, torch.float32)])
def test_too_small_a_model_proves_nothing(layers, dtype):
    with pytest.raises(ChiasmError, match="at least 4 layers in float64"):
        certify(ModelView(*build("llava", dtype=dtype, layers=layers)), None)


def test_versions_are_kept_while_they_count(monkeypatch):
    view = ModelView(*build("llava", dtype=torch.float64))
    monkeypatch.setattr(suite, "check", lambda view, allowed: [Law("a", None, None, "why"), Law("b", True, 0.1, "")])
    old = whole()
    fresh = certify(view, old)
    assert list(fresh.transformers) == ["5.0", suite.transformers.__version__]
    assert fresh.transformers[suite.transformers.__version__] == {"a": "-: why", "b": "yes"}
    stale = Certificate("another", 4, old.transformers)
    assert list(certify(view, stale).transformers) == [suite.transformers.__version__]


def test_the_file_is_packaged_with_the_families():
    assert FILE.parent == Path(certificates.__file__).parent
    assert FILE.is_file()
