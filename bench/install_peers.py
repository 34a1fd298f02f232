"""Make one environment per peer: `python -m bench.install_peers`.

Every environment gets the very torch and transformers of the one that runs this, and is refused if the peer has
replaced them. pip is taken out at the end, because TransformerLens runs it by itself where torchvision is missing, and
would so replace torch (../docs/bench.md).
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from cyclopts import App

# Name of the script in bench/peers -> what to install.
PEERS = {
    "nnsight": "nnsight==0.8.1",
    "transformer_lens": "transformer-lens==4.3.0",
    "pyvene": "pyvene==0.1.8",
}
SAME = ("torch", "transformers")

app = App(name="bench.install_peers", help=__doc__, help_format="plaintext")


def cache_directory() -> Path:
    """Where environments and saved models lie: `CHIASM_BENCH_CACHE`, or a directory in the user's cache."""
    return Path(os.environ.get("CHIASM_BENCH_CACHE", "~/.cache/chiasm-bench")).expanduser()


def python_of(cache: Path, peer: str) -> Path:
    """The interpreter of a peer's environment (which may not exist)."""
    return cache / "peers" / peer / "bin" / "python"


def installed(python: Path, requirement: str) -> bool:
    """Whether the environment of `python` is complete, and holds this torch and no other."""
    return python.exists() and _versions(python) == _wanted(requirement)


@app.default
def install(cache: Path | None = None) -> None:
    """Install what is missing. `cache`: where the environments go (default: CHIASM_BENCH_CACHE or ~/.cache)."""
    folder = cache or cache_directory()
    for peer, requirement in PEERS.items():
        python = python_of(folder, peer)
        if installed(python, requirement):
            print(f"{requirement} is there")
            continue
        print(f"installing {requirement} ...", flush=True)
        _install(python, requirement)


def _install(python: Path, requirement: str) -> None:
    venv.create(python.parent.parent, with_pip=True, clear=True)
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in SAME]
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text("\n".join(pins))
        # torch first and alone: a resolver that sees the peer's own wish beside it may prefer another build.
        for wanted in ([pins[0], "numpy", "pillow"], [requirement, *pins, "safetensors"]):
            command = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *wanted]
            subprocess.run(command, check=True)
    found = _versions(python)
    if found != _wanted(requirement):
        sys.exit(f"{requirement}: its environment holds {found}, not {_wanted(requirement)}")
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip"], check=True)


def _wanted(requirement: str) -> dict[str, str]:
    package, _, version = requirement.partition("==")
    return {name: importlib.metadata.version(name) for name in SAME} | {package: version}


def _versions(python: Path) -> dict[str, str]:
    """Installed versions of torch, transformers and the peers."""
    names = [*SAME, *(requirement.partition("==")[0] for requirement in PEERS.values())]
    script = (
        "import importlib.metadata as m, sys\n"
        "for d in m.distributions():\n"
        "    if d.metadata['Name'] in sys.argv[1:]: print(d.metadata['Name'], d.version)\n"
    )
    listed = subprocess.run([python, "-c", script, *names], check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in listed.splitlines())


if __name__ == "__main__":
    app()
