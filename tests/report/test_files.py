import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from memorization.report.files import read_rows, write_bytes, write_json


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_after_three_bytes(path, content):
    with path.open("wb") as file:
        file.write(content[:3])
    full_disk()


@pytest.mark.parametrize(
    "failing", [(Path, "write_bytes", full_after_three_bytes), (os, "replace", full_disk)]
)
def test_with_a_full_disk_the_older_file_stays_and_no_part_of_the_new_one(tmp_path, monkeypatch, failing):
    path = tmp_path / "toy.book.json"
    write_bytes(path, b"older")
    monkeypatch.setattr(*failing)
    with pytest.raises(OSError, match=f"No space left.*what was there before stays.*{path}"):
        write_bytes(path, b"newer and longer")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {path.name: b"older"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"file/toy\.json"):
        write_bytes(tmp_path / "file" / "toy.json", b"new")


def test_a_web_server_may_read_what_was_written(tmp_path):
    write_bytes(tmp_path / "new" / "page.html", b"x")
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    assert (tmp_path / "new" / "page.html").stat().st_mode == plain.stat().st_mode


def test_numbers_of_numpy_are_plain_and_what_is_no_number_is_null(tmp_path):
    value = {"a": np.float64(0.5), "b": (np.int64(2), float("nan")), 3: [float("inf"), True]}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 0.5, "b": [2, None], "3": [None, True]}


@pytest.mark.parametrize("text", ["[{", "\udcff", "[" * 100_000])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"x.json is not readable JSON .*run its notebook again"):
        read_rows(path)
