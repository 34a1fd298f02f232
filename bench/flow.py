"""What a sweep of attention cuts costs, in clean passes, beside its bound, its memory and other tools.

`python -m bench.flow` takes about ten minutes on two quiet cores, `--quick` two. `--peers` adds plain hooks, nnsight,
TransformerLens and pyvene where `python -m bench.install_peers` has installed them (five minutes more).
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from cyclopts import App
from rich.console import Console
from safetensors.torch import load_file

from bench.install_peers import PEERS, cache_directory, installed, python_of
from bench.measure import RESULTS, Seconds, machine
from bench.report import Peer, Sheet, clock_of, machine_lines, per_question, side_by_side, sweeps, write_results
from bench.shapes import SHAPES, default_shape, save, spans_of
from bench.worker import SIX, THREE, TO_LAST, Measurement, Request
from chiasm.interventions import AttentionKnockout, centred

HERE = Path(__file__).parent
BUDGETS = ("100MB", "500MB", "2GB")
QUESTIONS = (2, 4, 8)
HEADLINES = ("three cuts", "six cuts", "three cuts, reference")

app = App(name="bench.flow", help=__doc__, help_format="plaintext")


@app.default
def flow(
    *,
    quick: bool = False,
    peers: bool = False,
    device: Literal["cpu", "cuda"] = "cpu",
    shape: str | None = None,
    threads: int = 1,
    repeats: int = 3,
    jobs: int = 2,
    out: Path = RESULTS,
    cache: Path | None = None,
    resume: bool = False,
) -> None:
    """Measure, print, and write `flow.json` and `flow.md`.

    quick: headline configurations only, once each.
    peers: also the peers that are installed.
    device: cuda measures LLaVA-1.5-7B's shape in bfloat16.
    shape: another of the shapes in bench/shapes.py.
    threads: of every process.
    repeats: of every sweep, between clean passes.
    jobs: how many of the configurations after the headlines run at a time (on a GPU always one).
    out: where the results go.
    cache: saved models and the peers' environments (default: CHIASM_BENCH_CACHE or ~/.cache/chiasm-bench).
    resume: keep what `out` holds already, and measure the rest.
    """
    chosen = shape or default_shape(device)
    folder = cache or cache_directory()
    described = machine(device, threads)
    console = Console(width=120)
    model = saved_model(chosen, folder) if device == "cpu" else ""
    base = Request(
        name="", shape=chosen, cuts=THREE, repeats=1 if quick else repeats, threads=threads, device=device, model=model
    )
    found, beside = kept(out / "flow.json") if resume else ([], [])
    known = [replace(one.request, model=model) for one in found]
    for one in run_all([r for r in plan(base, quick=quick) if r not in known], jobs, console):
        found.append(one)
        write(out, described, found, beside)
    if peers:
        beside = run_peers(base, folder, console, beside)
    for sheet in write(out, described, found, beside):
        sheet.show(console)
    console.print(f"written to {out / 'flow.md'} and {out / 'flow.json'}")


def plan(base: Request, *, quick: bool = False) -> Iterator[Request]:
    """The configurations, headlines first."""
    three, six, reference = HEADLINES
    yield replace(base, name=three, check=not quick)
    yield replace(base, name=six, cuts=SIX)
    yield replace(base, name=reference, executor="reference")
    if quick:
        return
    for questions in QUESTIONS:
        yield replace(base, name=f"three cuts, {questions} questions", questions=questions)
    yield replace(base, name="to last, window 1", cuts=TO_LAST, window=1)
    yield replace(base, name="to last, all windows", cuts=TO_LAST, window=0)
    for budget in BUDGETS:
        name = f"three cuts, 4 questions, --memory {budget}"
        yield replace(base, name=name, questions=4, memory=budget, repeats=1)


def run_all(requests: list[Request], jobs: int, console: Console) -> Iterator[Measurement]:
    """The headlines alone on the machine, the others `jobs` at a time: their ratios are taken inside one process."""
    first = [request for request in requests if request.name in HEADLINES]
    for request in first:
        console.print(f"{request.name} ...", style="dim")
        yield measured(request)
    others = [request for request in requests if request not in first]
    with ThreadPoolExecutor(jobs if all(r.device == "cpu" for r in others) else 1) as pool:
        for one in pool.map(measured, others):
            console.print(f"{one.request.name}: done", style="dim")
            yield one


def measured(request: Request) -> Measurement:
    """One configuration in a process of its own."""
    command = [sys.executable, "-m", "bench.worker"]
    finished = subprocess.run(
        command, input=json.dumps(asdict(request)), stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent
    )
    return read_measurement(json.loads(finished.stdout.splitlines()[-1]), request)


def kept(file: Path) -> tuple[list[Measurement], list[Peer]]:
    """What an earlier run has written; nothing if there was none."""
    if not file.exists():
        return [], []
    raw = json.loads(file.read_text())
    found = [read_measurement(v, Request.of(v["request"])) for v in raw["sweeps"]]
    return found, [Peer(**v | _times(v, "clean", "cut")) for v in raw["peers"]]


def read_measurement(values: dict[str, Any], request: Request) -> Measurement:
    """A measurement from its JSON."""
    return Measurement(**values | _times(values, "clean", "sweep") | {"request": request})


def _times(values: dict[str, Any], *names: str) -> dict[str, list[Seconds]]:
    return {name: [Seconds(**one) for one in values[name]] for name in names}


def saved_model(shape: str, folder: Path) -> str:
    """The directory of the saved model of this shape, made once."""
    recipe = (HERE / "shapes.py").read_bytes()
    target = folder / "models" / f"{shape}-{hashlib.sha256(recipe).hexdigest()[:8]}"
    if not (target / "inputs.safetensors").exists():  # written last
        save(SHAPES[shape], target)
    return str(target)


def run_peers(base: Request, folder: Path, console: Console, done: list[Peer]) -> list[Peer]:
    """Plain hooks first, then every peer that is installed; all of them again if one is missing from `done`."""
    interpreters = {"hooks": Path(sys.executable)} | {peer: python_of(folder, peer) for peer in PEERS}
    if len(done) == len(interpreters):
        return done
    found: list[Peer] = []
    with tempfile.TemporaryDirectory() as scratch:
        for peer, python in interpreters.items():
            if peer in PEERS and not installed(python, PEERS[peer]):
                console.print(f"{peer} is not installed (python -m bench.install_peers)", style="dim")
                continue
            console.print(f"{peer} ...", style="dim")
            try:
                found.append(run_peer(peer, python, base, Path(scratch)))
            except subprocess.CalledProcessError as error:
                if peer == "hooks":  # the yardstick of the others
                    raise
                console.print(f"{peer} failed with exit status {error.returncode}: left out", style="red")
    return found


def run_peer(peer: str, python: Path, base: Request, scratch: Path) -> Peer:
    """One peer's script in its own environment, without a PATH on which it could find an installer."""
    spans, layers = spans_of(SHAPES[base.shape]), SHAPES[base.shape].layers
    window = centred(layers, base.window)[layers // 2]
    cuts = []
    for text in THREE:
        knock = AttentionKnockout.parse(text).on(spans, window)
        cuts.append({"name": text, "queries": knock.queries, "keys": knock.keys, "layers": list(range(*window[:2]))})
    logits = scratch / f"{peer}.safetensors"
    job = {"model": base.model, "cuts": cuts, "repeats": base.repeats, "threads": base.threads, "out": str(logits)}
    finished = subprocess.run(
        [python, HERE / "peers" / f"with_{peer}.py"],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(scratch), "HF_HUB_OFFLINE": "1"},
    )
    values: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    ours, theirs = load_file(logits), load_file(scratch / "hooks.safetensors")
    gaps = [(ours[k].log_softmax(-1) - theirs[k].log_softmax(-1)).abs().max() for k in theirs]
    times = _times(values, "clean", "cut")
    difference = None if peer == "hooks" else float(max(gaps))
    name = "plain hooks" if peer == "hooks" else peer.replace("_", "-")
    return Peer(name, values["versions"], values["attention"], times["clean"], times["cut"], difference)


def sheets_of(found: list[Measurement], beside: list[Peer]) -> list[Sheet]:
    """All tables of a run."""
    three = next(m for m in found if m.request.cuts == THREE and m.request.executor == "lockstep")
    sheets = sweeps(found)
    shared = [m for m in found if m.request.cuts == THREE and m.request.questions > 1 and not m.request.memory]
    if shared:
        sheets.append(per_question([three, *shared]))
    if beside:
        sheets.append(side_by_side(beside, three, clock_of(three.request)))
    return sheets


def write(out: Path, described: dict[str, str | int], found: list[Measurement], beside: list[Peer]) -> list[Sheet]:
    """`flow.json` with every single time, `flow.md` with the tables, which are returned."""
    sheets = sheets_of(found, beside)
    raw = {"machine": described, "sweeps": [asdict(m) for m in found]}
    for one in raw["sweeps"]:
        one["request"]["model"] = ""  # a path of this machine
    raw["peers"] = [
        peer._asdict() | {k: [asdict(s) for s in getattr(peer, k)] for k in ("clean", "cut")} for peer in beside
    ]
    first = found[0].request
    head = [
        "# What a sweep of attention cuts costs",
        "",
        f"`python -m bench.flow`, shape `{first.shape}` ({SHAPES[first.shape]}), {first.device}. "
        "How to read it: docs/bench.md.",
        "",
        machine_lines(described),
        "",
    ]
    write_results(out, "flow", raw, "\n".join(head) + "\n" + "\n".join(sheet.markdown() for sheet in sheets))
    return sheets


if __name__ == "__main__":
    app()
