"""`chiasm doctor`."""

import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from chiasm.cli.output import print_json
from chiasm.cli.verbs import announce
from chiasm.results.provenance import installed_version

_PACKAGES = ("chiasm", "torch", "transformers", "tokenizers", "safetensors", "polars", "pyarrow", "altair")
_OPTIONAL = {"torchvision": "Qwen2-VL and others need it", "peft": "models with LoRA adapters need it"}


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Is everything here that a run needs? Versions, devices, memory, write permission. Ends with 1 if not.

        chiasm doctor
        chiasm doctor --json

    Parameters
    ----------
    json
        Print one object, for programs: `python`, `platform`, `packages` (null: not installed), `devices`, `cores`,
        `threads`, `memory` and `disk` (bytes), `writable`, `ok`.
    """
    announce("chiasm doctor: versions, devices, memory, write permission.")
    found = _examined()
    if json:
        print_json(found)
    else:
        print("\n".join(_lines(found)))
    return 0 if found["ok"] else 1


def _examined() -> dict[str, Any]:
    import torch

    devices = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        devices.append(
            {"device": f"cuda:{index}", "name": torch.cuda.get_device_name(index), "free": free, "total": total}
        )
    here, problem = Path.cwd(), None
    try:
        with tempfile.NamedTemporaryFile(dir=here, prefix=".chiasm-doctor-"):
            pass
    except OSError as error:
        problem = error.strerror
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in _PACKAGES}
        | {name: installed_version(name) or None for name in _OPTIONAL},
        "devices": devices,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": _memory(),
        "disk": {"free": shutil.disk_usage(here).free},
        "writable": problem is None,
        "problem": problem,
        "ok": problem is None,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    """The same for people."""
    lines = [f"python        {found['python']} on {found['platform']}"]
    for package, version in found["packages"].items():
        absent = f"not installed ({_OPTIONAL.get(package)}: pip install {package})"
        lines.append(f"{package:<13} {version or absent}")
    for one in found["devices"]:
        free = f"{one['free'] / 1e9:.1f} of {one['total'] / 1e9:.1f} GB free"
        lines.append(f"{one['device']:<13} {one['name']}, {free}")
    if not found["devices"]:
        lines.append("device        cpu (torch sees no GPU)")
    lines.append(f"cpu           {found['cores']} cores, torch uses {found['threads']}")
    memory = found["memory"]
    known = memory and f"{memory['free'] / 1e9:.1f} of {memory['total'] / 1e9:.1f} GB free"
    lines.append(f"memory        {known or 'unknown on this system'}")
    lines.append(f"disk          {found['disk']['free'] / 1e9:.1f} GB free here")
    where = "give --out a directory that you may write to"
    refused = f"NOT possible here ({found['problem']}): {where}"
    lines.append(f"writing       {'possible here' if found['writable'] else refused}")
    return lines


def _memory() -> dict[str, int] | None:
    """Bytes of memory, or None where the system does not say."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return {"free": os.sysconf("SC_AVPHYS_PAGES") * page, "total": os.sysconf("SC_PHYS_PAGES") * page}
    except (ValueError, AttributeError):
        return None
