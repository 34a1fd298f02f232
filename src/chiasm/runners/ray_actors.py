"""Processes on a Ray cluster that share one run directory: plain actors, each on GPUs of its own where there are any.

Ray gives them places and says when one is lost. What they compute is claimed in the directory, as by any processes, so
nothing but the directory needs to be seen by all machines.
"""

import ctypes
import logging
import os
import re
import secrets
import socket
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import torch

from chiasm.core.errors import ChiasmError, MissingExtraError
from chiasm.runners.sharing import LostProcessError, Running, Task, Workplace

_log = logging.getLogger("chiasm")
_PATIENCE = 30.0  # seconds that an actor has to put on the disk what it has, when it is stopped
_WAIT = 60.0  # seconds without a place on the cluster after which that is said, again and again
_ANSWER = 10.0
_HOST = re.compile(r"(?:ray://)?(?P<host>[^/:]+):(?P<port>\d+)")
_MARK = ".chiasm-shared-"


@final
class RayActors(Workplace):
    """Places on a Ray cluster. As a context manager it leaves the cluster behind it, and ends one that it started.

    `address`: of a cluster that runs, as `auto` or `ray://HOST:10001`; None starts one on this machine, whatever the
    environment names. `gpus`: of each actor; None is one where the cluster has any. `folder`: where the run directory
    is, which every machine must see.

    **Errors:** `ChiasmError` without Ray, or for a cluster that cannot be reached.
    """

    def __init__(self, address: str | None, gpus: int | None, folder: Path) -> None:
        self._ray = _ray()
        self._folder, self._mark = folder, f"{_MARK}{secrets.token_hex(6)}"
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect(address)
        elif address is not None:
            _log.warning("This process is connected to a Ray cluster already, which is used in place of %s.", address)
        resources = self._ray.cluster_resources()
        self._cores, there = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self.gpus = (1 if there else 0) if gpus is None else gpus
        """GPUs of each actor."""
        if self.gpus > there:
            self.close()
            todo = "Give fewer --gpus-each, or another --address"
            raise ChiasmError(f"--gpus-each {gpus}", f"the cluster has {there} GPUs", todo)
        self.most = max(1, there // self.gpus if self.gpus else self._cores)
        """Actors that have a place at one time."""
        self.count = self.most
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self._mark).touch()
        self._actor = self._ray.remote(_Actor)

    def _connect(self, address: str | None) -> None:
        if address is not None and (place := _HOST.fullmatch(address)):
            _require_there(address, place["host"], int(place["port"]))
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            self._ray.init(
                address or "local",
                namespace="chiasm",
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            found = str(error).strip().splitlines()[0].rstrip(".")
            asked = "start Ray on this machine" if address is None else f"reach the Ray cluster at {address}"
            raise ChiasmError(asked, found, "See `ray status`, or leave --runner out") from error

    def start(self, number: int, task: Task, *, first: bool, waits: bool = False) -> Running:
        # As many threads as were asked for; else every actor has its share of the cluster's cores.
        asked = os.environ.get("OMP_NUM_THREADS", "")
        cores = int(asked) if asked.isdecimal() else self._cores // max(1, min(self.count, self.most))
        # An actor waits for its place; one that is lost is started again by whoever counts how often.
        options = {"num_cpus": 1, "num_gpus": self.gpus, "max_restarts": 0, "max_concurrency": 3}
        actor = self._actor.options(**options).remote()
        where = (str(self._folder), self._mark, os.getcwd())
        return _RayProcess(self._ray, actor, actor.work.remote(number, task, first, cores, *where))

    def close(self) -> None:
        """Leave the cluster."""
        (self._folder / self._mark).unlink(missing_ok=True)
        if self._own:
            self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


@final
class _RayProcess(Running):
    def __init__(self, ray: Any, actor: Any, answer: Any) -> None:
        self._ray, self._actor, self._answer = ray, actor, answer
        self._look = actor.look.remote()
        self._seen, self._reported = False, time.monotonic()

    def ended(self) -> bool:
        self._look_at()
        ready, _ = self._ray.wait([self._answer], timeout=0)
        if not ready:
            return False
        try:
            kind, *content = self._ray.get(self._answer)
        except self._ray.exceptions.RayError as error:
            raise LostProcessError(str(error).strip().splitlines()[0]) from None
        if kind == "refused":
            raise ChiasmError(*content)
        if kind == "failed":
            raise RuntimeError(f"in another process:\n{content[0]}")
        return True

    def _look_at(self) -> None:
        """Ask whether it has begun, and say so where it has had no place for long."""
        if self.opened:
            return
        ready, _ = self._ray.wait([self._look], timeout=0)
        if not ready:
            if not self._seen and time.monotonic() - self._reported > _WAIT:
                self._reported = time.monotonic()
                _log.warning("Waiting for a place on the Ray cluster (see `ray status`).")
            return
        try:
            self.opened = self._ray.get(self._look)
        except self._ray.exceptions.RayError:
            return  # lost, which its answer says
        self._seen = True
        if not self.opened:
            self._look = self._actor.look.remote()

    def stop(self) -> None:
        self._actor.stop.remote()

    def join(self) -> None:
        self._ray.wait([self._answer], timeout=_PATIENCE)
        self._ray.kill(self._actor)


@final
class _Actor:
    """What runs on the cluster. `work` is called in one thread, `look` and `stop` in others."""

    def __init__(self) -> None:
        self._opened, self._thread = False, 0

    def work(
        self, number: int, task: Task, first: bool, threads: int, folder: str, mark: str, directory: str
    ) -> tuple[str, ...]:
        """Do the task; how it ended, as plain text."""
        self._thread = threading.get_ident()
        logging.getLogger("chiasm").setLevel(logging.WARNING)
        torch.set_num_threads(max(1, min(threads, os.cpu_count() or 1)))  # the cluster may be many machines
        try:
            if not (Path(folder) / mark).exists():
                found = f"a machine of the cluster does not see the folder {folder}"
                raise ChiasmError("share the work", found, "Give an --out on a disk that all of them share")
            os.chdir(directory if Path(directory).is_dir() else folder)
            task(number, first, self._has_opened)
        except KeyboardInterrupt:
            return ("stopped",)
        except ChiasmError as error:
            return ("refused", error.asked, error.found, error.todo)
        except Exception:  # reported in full by the first process
            return ("failed", traceback.format_exc())
        return ("done",)

    def _has_opened(self) -> None:
        self._opened = True

    def look(self) -> bool:
        """Whether the run directory has been opened."""
        return self._opened

    def stop(self) -> None:
        """Interrupt the task, as Ctrl-C would: what it has is put on the disk."""
        if self._thread:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(KeyboardInterrupt)
            )


def _require_there(address: str, host: str, port: int) -> None:
    """**Errors:** `ChiasmError` where nobody answers, for which Ray itself takes minutes."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER).close()
    except OSError as error:
        found = f"nobody answers there ({error.strerror or error})"
        raise ChiasmError(f"reach the Ray cluster at {address}", found, "See `ray status`") from None


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports] (an extra)

        return ray
    except ImportError as error:
        raise MissingExtraError("computing on Ray", "ray", "ray") from error
