import dataclasses
import json

import pandas as pd
import pytest

from memorization.report import prices
from memorization.report.prices import (
    benchmark_figure,
    benchmark_table,
    cost,
    duration,
    every_price,
    foot,
    price_table,
    read_benchmarks,
    write_price,
)
from memorization.runs.records import Record, RecordStore


@pytest.fixture
def now(monkeypatch):
    """The page of the little table ends 75 s after it began."""
    monkeypatch.setattr(prices, "seconds_since", lambda started: {"2026-03-01T00:00:00Z": 75.0}[started])


@pytest.mark.usefixtures("now")
def test_a_price_is_what_a_user_waits_and_what_was_computed_meanwhile(run, records):
    shared = records.assign(_date="2026-03-01T00:00:30Z")  # one record per seed, with six rows each
    write_price(run, {"toy": shared})
    (price,) = json.loads(run.price_path.read_text())
    assert (price["seconds"], price["computing_seconds"], price["load"]) == (75.0, 1.5, 0.5)
    assert (price["peak_mib"], price["device"]) == (80.0, "a cpu")
    assert (price["date"], price["versions"]) == ("2026-03-01T00:00:30Z", {"torch": "2.13.0"})


@pytest.mark.usefixtures("now")
def test_a_table_that_is_passed_twice_counts_once(run, records):
    write_price(run, {"toy": records, "part of it": records.head(5)})
    assert json.loads(run.price_path.read_text())[0]["computing_seconds"] == 9.0


@pytest.mark.usefixtures("now")
def test_a_table_that_was_derived_from_others_changes_no_price(run, records):
    means = pd.DataFrame({"seed": [0], "value": [1.0]})
    write_price(run, {"toy": records})
    alone = json.loads(run.price_path.read_text())
    write_price(run, {"toy": records, "means": means})
    assert json.loads(run.price_path.read_text()) == alone


@pytest.mark.usefixtures("now")
def test_the_peak_is_that_of_the_hungriest_point(run, records):
    records.loc[3, "_peak_mib"] = 200.0
    write_price(run, {"toy": records})
    assert json.loads(run.price_path.read_text())[0]["peak_mib"] == 200.0


def test_a_page_that_shows_published_points_did_not_compute_them(run, records):
    published = records.assign(_source="published", _seconds=1000.0)
    assert write_price(run, {"toy": records, "other": published}) is None


def test_a_page_that_found_a_point_in_its_store_keeps_the_price_of_the_run_that_computed_it(run, records):
    found = records.assign(_date=["2026-02-28T23:59:59Z", *records["_date"][1:]])
    assert write_price(run, {"toy": found}) is None
    earlier = run.build / "prices" / "toy.book.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text(json.dumps([{**PUBLISHED, "seconds": 75, "computing_seconds": 100, "load": 1.25}]))
    assert "1 min 15 s" in price_table(run).data
    assert "1.25" in price_table(run).data
    assert cost(run).startswith("1 min 15 s and ")


def test_a_page_that_nobody_has_timed_says_so(run):
    assert cost(run) == "not measured yet"


def test_no_records_have_no_price(run, records):
    assert write_price(run, {"toy": records.head(0)}) is None
    assert not run.price_path.exists()


@pytest.mark.parametrize("tables", [{}, {"toy": pd.DataFrame()}])
def test_a_page_without_records_still_has_its_price_and_its_foot(run, tables):
    assert write_price(run, tables) is None
    assert "not measured yet" in price_table(run).data
    assert "toy, profile book" in foot(run, tables).data


PUBLISHED = {"seconds": 5400, "peak_mib": 900, "device": "b cpu", "cores": "8", "threads": "4"}
PUBLISHED |= {"date": "2026-01-02", "versions": {}}


@pytest.mark.usefixtures("now")
def test_the_table_joins_this_run_and_the_published_profiles(run, records):
    path = run.published / "prices" / "toy.desktop.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([PUBLISHED]))
    write_price(run, {"toy": records})
    page = price_table(run).data
    for text in ("1 min 15 s", "80 MiB", "1.5 h, summed over points", "900 MiB", "b cpu, 8 cores"):
        assert text in page
    assert "not measured yet" in page  # the paper's own settings
    assert "smoke" not in page


def test_a_run_with_other_parameters_has_no_price_but_its_own(run):
    path = run.published / "prices" / "toy.book.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([PUBLISHED]))
    assert "1.5 h" in price_table(run).data
    assert "1.5 h" not in price_table(dataclasses.replace(run, own=False)).data


def test_a_damaged_published_price_is_named(run):
    path = run.published / "prices" / "toy.paper.json"
    path.parent.mkdir(parents=True)
    path.write_text("[{")
    with pytest.raises(ValueError, match=r"toy.paper.json is not readable JSON"):
        price_table(run)


def _point(seed, seconds):
    measured = {"seconds": seconds, "peak_mib": 50.0 + seed, "device": "a gpu", "cores": 4}
    measured |= {"date": "2026-02-01T00:00:00Z", "versions": {}}
    return Record("point", {"N": 1}, seed, ({"y": 1.0},), "c0de", measured)


def test_a_page_that_was_not_run_as_a_whole_has_the_price_of_its_points(run):
    path = run.published / "records" / "toy.paper.jsonl"
    path.parent.mkdir(parents=True)
    with RecordStore(path) as store:
        for seed, seconds in ((0, 30.0), (0, 40.0), (1, 20.0)):  # the newest of a point counts
            store.append(_point(seed, seconds))
    for page in (price_table(run).data, every_price(run).data):
        for text in ("not run as a whole; 1 min in 2 points on a gpu, summed over points", "51 MiB"):
            assert text in page
    assert cost(dataclasses.replace(run, profile="paper")) == "not measured yet"


def test_every_page_has_its_prices_in_one_table(run):
    assert "No prices are measured yet" in every_price(run).data
    for folder, name, seconds in (
        (run.published, "toy", 75),
        (run.published, "a_b", 5),
        (run.build, "toy", 45),
    ):
        path = folder / "prices" / f"{name}.book.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([{**PUBLISHED, "seconds": seconds, "computing_seconds": 100}]))
    page = every_price(run).data
    assert '<a href="a_b.html">a b</a>' in page
    assert "45 s" in page  # of this build
    assert "1 min 15 s" not in page


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (0.42, "0.4 s"),
        (35.4, "35 s"),
        (59.7, "1 min"),
        (250, "4 min 10 s"),
        (9000, "2.5 h"),
    ],
)
def test_times_are_written_for_people(seconds, text):
    assert duration(seconds) == text


def test_the_foot_names_versions_device_and_profile(run):
    page = foot(run).data
    for text in ("torch 2.13.0", "a cpu", "toy, profile book"):
        assert text in page


def test_the_foot_says_how_many_points_older_code_made(run, records):
    old = records.assign(_code_changed=records.seed == 0, _source="published")
    points = len(records.drop_duplicates(["seed", "_date"]))
    page = foot(run, {"toy": old}).data
    assert f"{points} points made from" in page
    assert "published; " in page
    assert "were made by older code" in page
    assert "older code" not in foot(run, {"toy": records.assign(_code_changed=False)}).data


ROW = {"work": "RF regression at N = 1000", "plain_seconds": 36.0, "our_seconds": 3.0, "ratio": 12.0}
ROW |= {
    "plain_peak_mib": 900.0,
    "our_peak_mib": 200.0,
    "device": "a cpu",
    "cores": 2,
    "date": "2026-03-01T10:00:00Z",
}


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "toy.json").write_text(
        json.dumps([{**ROW, "versions": {}}, {**ROW, "work": "NTK", "ratio": 0.5}])
    )
    return read_benchmarks(tmp_path)


def test_the_rows_of_all_files_are_read(rows):
    assert rows[["work", "ratio", "file"]].to_numpy().tolist() == [
        [ROW["work"], 12.0, "toy"],
        ["NTK", 0.5, "toy"],
    ]


def test_the_table_shows_both_times_the_ratio_and_the_memory(rows):
    page = benchmark_table(rows).data
    for text in ("36 s", "3.0 s", "12 ×", "900 MiB", "200 MiB", "a cpu, 2 cores", "2026-03-01"):
        assert text in page


def test_the_figure_says_how_many_gain_and_describes_each_dot(run, rows):
    page = benchmark_figure(run, rows).data
    assert "1 of 2 rows take less time than the plain way, the best by 12 times" in page
    assert "NTK: 0.5 times" in page
    assert pd.read_csv(run.figures_folder / "speed.csv")["ratio"].tolist() == [12.0, 0.5]


def test_without_measurements_the_page_says_how_to_make_some(run, tmp_path):
    rows = read_benchmarks(tmp_path / "none")
    assert "make benchmarks" in benchmark_table(rows).data
    assert "make benchmarks" in benchmark_figure(run, rows).data


def test_a_row_without_a_number_is_named(tmp_path):
    (tmp_path / "toy.json").write_text(json.dumps([{"work": "half a row"}]))
    with pytest.raises(ValueError, match=r"toy.json: the row 'half a row' has no 'plain_seconds'"):
        read_benchmarks(tmp_path)
