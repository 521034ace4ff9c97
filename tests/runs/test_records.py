"""The record store: what is kept, what is mended, what is refused."""

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from memorization.runs import records
from memorization.runs.records import LockedError, Record, RecordError, RecordStore, clean, key_of, newest


def record(alpha=0.5, seed=0, value=1.5, code="c0de"):
    rows = ({"N": 10, "value": value},)
    return Record(
        "module.point", {"alpha": alpha}, seed, rows, code, {"seconds": 0.1, "date": "2026-01-01T00:00:00Z"}
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records" / "a.jsonl"


def filled(path, count=3):
    with RecordStore(path) as store:
        for seed in range(count):
            store.append(record(seed=seed))
    return path


def test_what_was_appended_is_read_back(path):
    assert RecordStore(filled(path)).read() == [record(seed=s) for s in range(3)]


def test_no_file_means_no_records(path):
    assert RecordStore(path).read() == []


def test_floats_come_back_to_the_last_bit(path):
    with RecordStore(path) as store:
        store.append(record(value=0.1 + 0.2))
    assert RecordStore(path).read()[0].rows[0]["value"] == 0.1 + 0.2


def test_a_second_writer_appends(path):
    filled(path, 1)
    filled(path, 1)
    assert len(RecordStore(path).read()) == 2
    assert path.read_text().count('"version"') == 1


def test_the_newest_record_of_a_point_counts():
    both = newest([record(value=1.0), record(value=2.0)])
    assert [r.rows[0]["value"] for r in both.values()] == [2.0]


def test_an_argument_that_a_record_lacks_counts_as_todays_default():
    assert record(alpha=0.5).key_today({"width": 2}) == key_of("module.point", {"alpha": 0.5, "width": 2}, 0)


def test_an_argument_that_a_record_has_goes_before_todays_default():
    assert record(alpha=0.5).key_today({"alpha": 1.0}) == record(alpha=0.5).key


def test_a_half_written_last_line_is_dropped_with_a_warning(path):
    filled(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(RuntimeWarning, match="half written"):
        assert len(RecordStore(path).read()) == 2


def test_writing_after_a_half_written_line_mends_the_file(path):
    filled(path)
    path.write_bytes(path.read_bytes()[:-7])
    with RecordStore(path) as store:
        store.append(record(seed=9))
    assert [r.seed for r in RecordStore(path).read()] == [0, 1, 9]


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_changed_digit_is_damage_and_the_line_is_named(path, line):
    lines = filled(path).read_text().splitlines(keepends=True)
    number = '"version":2' if line == 1 else '"seed":'
    lines[line - 1] = lines[line - 1].replace(number, number[:-1] + ("3" if line == 1 else ":4"), 1)
    path.write_text("".join(lines))
    with pytest.raises(RecordError, match=rf"line {line}, is damaged"):
        RecordStore(path).read()


def test_a_line_that_is_no_json_is_damage(path):
    filled(path)
    with path.open("a") as file:
        file.write("not json\n")
    with pytest.raises(RecordError, match=r"line 5, is damaged.*Restore the file"):
        RecordStore(path).read()


@pytest.mark.parametrize("version", [1, 99])
def test_a_file_of_another_version_is_refused(path, version):
    filled(path)
    from memorization.runs import records

    head = records._line({"format": records.FORMAT, "version": version}).decode()
    path.write_text(head + "".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(RecordError, match=f"version {version}; this library reads .*, version 2"):
        RecordStore(path).read()


def test_a_full_disk_leaves_the_file_as_it_was(path, monkeypatch):
    before = filled(path).read_bytes()
    write = os.write

    def full(descriptor, data):
        write(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with RecordStore(path) as store:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RecordError, match=r"No space left on device.*Finished points are kept"):
            store.append(record(seed=9))
        monkeypatch.undo()
    assert path.read_bytes() == before


def _hold(path, ready):
    with RecordStore(path):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(path):
    ready = multiprocessing.get_context("fork").Event()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(path, ready))
    process.start()
    assert ready.wait(20)
    yield process
    process.kill()
    process.join()


def test_a_second_writer_is_told_who_writes(path, holder):
    store = RecordStore(path)
    store._lock.patience = 0.2
    with pytest.raises(LockedError, match=f"process {holder.pid} on "), store:
        pass


def test_a_dead_owners_lock_is_taken_over(path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with RecordStore(path) as store:
        store.append(record())
    assert len(RecordStore(path).read()) == 1


def test_an_infinite_number_is_refused_with_its_column():
    with pytest.raises(ValueError, match="loss is inf"):
        clean(float("inf"), "loss")


def test_nan_is_kept_as_null(path):
    with RecordStore(path) as store:
        store.append(Record("f", {}, 0, (clean({"value": float("nan")}, "row"),), "c", {}))
    assert json.loads(path.read_text().splitlines()[1])["rows"] == [{"value": None}]


def test_an_object_is_refused_with_what_a_record_holds():
    with pytest.raises(TypeError, match="a record holds numbers"):
        clean(object(), "x")


def test_a_full_disk_leaves_every_file_as_it_was_and_names_the_path(tmp_path, monkeypatch):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    for path in (good, bad):
        path.write_text("old")
    write = Path.write_text

    def full(self, text, **options):
        if self.name == ".bad.json.part":
            write(self, text[:1], **options)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="cannot be written: No space left on device; what was there") as told:
        records.put({good: "new", bad: "new"})
    assert str(bad) in str(told.value)
    assert [path.read_text() for path in (good, bad)] == ["old", "old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "good.json"]


def test_files_folders_and_texts_replace_others_as_a_whole(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.csv").write_text("1")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "old.csv").write_text("0")
    records.put({tmp_path / "there": tmp_path / "made", tmp_path / "deep" / "text": "words"})
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.csv"]
    assert (tmp_path / "deep" / "text").read_text() == "words"
