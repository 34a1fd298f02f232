"""Actors of a Ray cluster on one directory: the tables of one process, whoever dies."""

import os
import time
from contextlib import contextmanager

import pytest
import torch
from tests.runners.test_sharing import alone, assert_same
from tests.support.counting import CountingTask

from chiasm.core.errors import ChiasmError
from chiasm.results.rundir import RunDirectory
from chiasm.runners.ray_actors import RayActors
from chiasm.runners.sharing import share

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.heavy


@contextmanager
def places(tmp_path, count):
    with RayActors(None, None, tmp_path) as place:
        place.count = count
        yield place


@pytest.mark.parametrize("summed", [False, True])
def test_tables_are_those_of_one_process(tmp_path, summed):
    task = CountingTask(tmp_path / "run", summed=summed)
    with places(tmp_path, 2) as place:
        share(task, 2, place, task.join)
    assert_same(alone(tmp_path, summed=summed), RunDirectory.load(task.out))
    assert not list(tmp_path.glob(".chiasm-shared-*"))
    assert not ray.is_initialized()


def test_an_example_that_ends_actors_is_left_out_alone(tmp_path):
    task = CountingTask(tmp_path / "run", examples=30, batch=3, deadly=("e7",))
    with places(tmp_path, 2) as place:
        share(task, 2, place, task.join)
    found = RunDirectory.load(task.out)
    [failure] = [one for one in found.failures() if one["reason"] != "it is bad"]
    assert failure["example_id"] == "e7"


def test_a_mistake_in_an_actor_is_reported_as_one(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    task = CountingTask(tmp_path / "run")
    with places(tmp_path, 1) as place, pytest.raises(ChiasmError, match=r"thesis\.tex"):
        share(task, 1, place, task.join)


def test_a_folder_that_the_cluster_does_not_see_is_said(tmp_path):
    task = CountingTask(tmp_path / "run")
    with places(tmp_path / "here", 1) as place:
        place._folder = tmp_path / "elsewhere"
        with pytest.raises(ChiasmError, match="does not see the folder"):
            share(task, 1, place, task.join)


def test_no_cluster_that_was_not_named_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with places(tmp_path, 1) as place:
        assert place.most >= 1


def test_a_cluster_that_is_not_there_is_an_error_in_words(tmp_path):
    with pytest.raises(ChiasmError, match=r"reach the Ray cluster at 127\.0\.0\.1:1"):
        RayActors("127.0.0.1:1", None, tmp_path)


def test_more_gpus_than_there_are_are_refused(tmp_path):
    with pytest.raises(ChiasmError, match="the cluster has 0 GPUs"):
        RayActors(None, 8, tmp_path)
    assert not ray.is_initialized()


class _Threads:
    """Writes how many threads torch has where it runs."""

    def __init__(self, file):
        self.file = file

    def __call__(self, number, first, opened):
        self.file.write_text(str(torch.get_num_threads()))


@pytest.mark.parametrize(("asked", "expected"), [("1", 1), (None, os.cpu_count()), (str(10**6), os.cpu_count())])
def test_an_actor_has_the_threads_that_were_asked_for_and_no_more_than_its_machine(
    tmp_path, monkeypatch, asked, expected
):
    if asked is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with places(tmp_path, 1) as place:
        running = place.start(0, _Threads(tmp_path / "threads"), first=True)
        while not running.ended():
            time.sleep(0.05)
    assert int((tmp_path / "threads").read_text()) == expected
