"""`chiasm doctor`."""

import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from chiasm.results.provenance import installed_version

_PACKAGES = ("chiasm", "torch", "transformers", "tokenizers", "safetensors", "polars", "pyarrow", "altair")
_OPTIONAL = {"torchvision": "Qwen2-VL and others need it", "peft": "models with LoRA adapters need it"}


def doctor() -> int:
    """Is everything here that a run needs? Versions, devices, memory, write permission. Ends with 1 if not.

    chiasm doctor
    """
    import torch

    print(f"python        {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in _PACKAGES:
        print(f"{package:<13} {metadata.version(package)}")
    for package, use in _OPTIONAL.items():
        print(f"{package:<13} {installed_version(package) or f'not installed ({use}: pip install {package})'}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            print(f"cuda:{index}        {name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    else:
        print("device        cpu (torch sees no GPU)")
    print(f"cpu           {os.cpu_count()} cores, torch uses {torch.get_num_threads()}")
    print(f"memory        {_memory()}")
    here = Path.cwd()
    print(f"disk          {shutil.disk_usage(here).free / 1e9:.1f} GB free here")
    try:
        with tempfile.NamedTemporaryFile(dir=here, prefix=".chiasm-doctor-"):
            pass
    except OSError as error:
        print(f"writing       NOT possible here ({error.strerror}): give --out a directory that you may write to")
        return 1
    print("writing       possible here")
    return 0


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free, total = os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
    except (ValueError, AttributeError):
        return "unknown on this system"
    return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
