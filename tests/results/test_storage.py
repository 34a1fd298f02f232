"""What is written whole, and what is removed while others remove it."""

import os
from threading import Thread

from chiasm.results.storage import PARTIAL, remove


def test_a_folder_that_another_process_is_removing_is_removed(tmp_path, monkeypatch):
    """Between listing a folder and removing what it lists, another process has removed one of its parts."""
    folder = tmp_path / f"{PARTIAL}1-shards"
    for number in range(3):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "rows.parquet").write_bytes(b"rows")
    plain, taken = os.rmdir, []

    def rmdir(path, **options):
        if not taken:
            taken.append(path)
            plain(path, **options)
        plain(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    remove(folder)
    assert taken
    assert not folder.exists()


def test_many_remove_one_folder(tmp_path):
    folder = tmp_path / "shards"
    for number in range(200):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "rows.parquet").write_bytes(b"rows")
    failed = []

    def removing():
        try:
            remove(folder)
        except OSError as error:
            failed.append(error)

    threads = [Thread(target=removing) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not folder.exists()
    assert not any(one.name.startswith(PARTIAL) for one in tmp_path.iterdir())
