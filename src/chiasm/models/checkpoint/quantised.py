"""Checkpoints whose weights are quantised: which package or device theirs needs, before any weight is read."""

from collections.abc import Mapping
from typing import Any, Final

from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoHfQuantizer

from chiasm.core.errors import ChiasmError

_PACKAGES: Final = {
    "aqlm": "aqlm",
    "auto-round": "auto-round",
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "eetq": "kernels",
    "fbgemm_fp8": "fbgemm-gpu",
    "fouroversix": "fouroversix",
    "fp_quant": "fp_quant",
    "gptq": "gptqmodel optimum",
    "higgs": "flute-kernel fast-hadamard-transform",
    "hqq": "hqq",
    "quanto": "optimum-quanto",
    "quark": "amd-quark",
    "sinq": "sinq",
    "spqr": "spqr_quant",
    "torchao": "torchao",
    "vptq": "vptq",
}
"""What a method needs beside transformers, as pip names it."""
_OTHER: Final = "name the checkpoint that is not quantised"


def quantisation(config: Any) -> Mapping[str, Any] | None:
    """What a configuration says of quantised weights; None where they are not."""
    for part in (config, config.get_text_config(decoder=True)):
        found = getattr(part, "quantization_config", None)
        if found is not None:
            return found if isinstance(found, Mapping) else found.to_dict()
    return None


def require_quantiser(asked: str, settings: Mapping[str, Any]) -> None:
    """Refuse weights of a quantisation that this machine cannot compute with.

    **Errors:** `ChiasmError` that names the package, or the device, that is missing.
    """
    method = str(settings.get("quant_method") or "")
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        method = "bitsandbytes"
    asked_for = f"its weights are quantised by {f'`{method}`' if method else 'a method that config.json does not name'}"
    if method not in {*AUTO_QUANTIZATION_CONFIG_MAPPING, "bitsandbytes"}:
        raise ChiasmError(asked, f"{asked_for}, which transformers does not know", f"{_OTHER[0].upper()}{_OTHER[1:]}")
    try:
        quantiser = AutoHfQuantizer.from_config(dict(settings), pre_quantized=True)
        quantiser.validate_environment(device_map=None, weights_only=True)
    except (ImportError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        lacking, todo = _lacking(method.removesuffix("_4bit").removesuffix("_8bit"), error)
        raise ChiasmError(asked, f"{asked_for}, {lacking}", f"{todo}, or {_OTHER}") from error


def _lacking(method: str, error: Exception) -> tuple[str, str]:
    """What stands in the way of a quantisation, and what to do, from the error with which transformers refuses it."""
    if "GPU" in str(error):
        return "which needs a GPU, and torch sees none", "Use a machine with a GPU"
    if isinstance(error, ImportError) and method in _PACKAGES:
        packages = _PACKAGES[method]
        named = "packages" if " " in packages else "package"
        return f"which needs the {named} `{packages.replace(' ', '` and `')}`", f"Run `pip install {packages}`"
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"which cannot be used here ({reason})", "Install what is missing"
