"""How the command ends where the world does not do its part: an interrupt at once, no room, nowhere to write."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

import chiasm
from chiasm.cli.main import main

CHIASM = [sys.executable, "-c", "from chiasm.cli.main import main; main()"]
EVAL = ["eval", "tiny", "--limit", "2"]


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3])
def test_an_interrupt_at_once_needs_no_traceback(tmp_path, after):
    # A line says when Python itself has started, which is not ours to answer for.
    code = "import os; os.write(1, b'.'); from chiasm.cli.main import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, *EVAL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        # A shell that starts the tests behind it has them ignore interrupts, which would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert started.stdout is not None
    assert started.stdout.read(1) == b"."
    time.sleep(0.1 + after)  # `chiasm` and `chiasm.cli` hold names alone, and are imported by then
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130, said
    assert b"Traceback" not in said
    assert said.endswith(b"Interrupted.\n")


def run(words, tmp_path, **how):
    return subprocess.run([*CHIASM, *words], cwd=tmp_path, text=True, timeout=120, check=False, **how)


@pytest.mark.heavy
def test_a_full_standard_output_ends_with_2_and_the_run_is_whole(tmp_path):
    with open("/dev/full", "w") as full:
        done = run([*EVAL, "--out", "run"], tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert chiasm.open(tmp_path / "run").directory.complete


# With all three closed, each is missing; those alone are of the same kind.
@pytest.mark.parametrize(
    "closed", [pytest.param((1,), marks=pytest.mark.heavy), pytest.param((2,), marks=pytest.mark.heavy), (0, 1, 2)]
)
def test_closed_standard_files_cost_nothing(tmp_path, closed):
    def close():
        for handle in closed:
            os.close(handle)

    words = [*EVAL, "--out", "run"]
    done = subprocess.run([*CHIASM, *words], cwd=tmp_path, timeout=120, check=False, preexec_fn=close)
    assert done.returncode == 0
    run = chiasm.open(tmp_path / "run")
    assert run.directory.complete
    assert run.table("eval").height == 2


@pytest.mark.parametrize(
    ("out", "match"),
    [
        ("/proc/run", "/proc/run"),
        ("/dev/null/run", "a part of the path is a file"),
        ("x" * 300, "the path is too long"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, capsys, monkeypatch, out, match):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*EVAL, "--out", out])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert match in said.splitlines()[-1]


@pytest.mark.heavy
def test_a_file_that_would_be_too_large_is_said(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 10, 2 << 10))

    chiasm.load("tiny")  # made in the cache, which the limit is not meant for
    done = run([*EVAL, "--out", "run"], tmp_path, capture_output=True, preexec_fn=limit)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "a file would be larger than this process may write" in done.stderr.splitlines()[-1]


def test_a_cache_that_cannot_be_used_is_said(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHIASM_CACHE", str(tmp_path / "file"))
    with pytest.raises(SystemExit) as ended:
        main([*EVAL, "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "Name a folder that can be written, and has room, with CHIASM_CACHE" in said


def test_what_data_are_called_cannot_steer_the_terminal(tmp_path, capsys, caplog):
    rows = [f'{{"id": "{k}", "question": "What?", "answer": "red", "type": "\\u001b[2J{k % 2}"}}' for k in range(4)]
    rows.append('{"id": "\\u001b[31m", "question": "What?", "image": "\\u001b]0;title\\u0007.png"}')
    (tmp_path / "q.jsonl").write_text("\n".join(rows))
    for more in ((), ("--json", "--resume")):
        with pytest.raises(SystemExit) as ended:
            main(["eval", "tiny", "--data", str(tmp_path / "q.jsonl"), "--out", str(tmp_path / "run"), *more])
        assert ended.value.code in (0, None)
        printed = capsys.readouterr()
        assert "[2J0" in printed.out
        assert "\x1b" not in printed.out + printed.err
        assert "\x07" not in printed.out + printed.err
