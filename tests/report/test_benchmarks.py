import json

import pandas as pd
import pytest

from memorization.report.prices import benchmark_figure, benchmark_table, read_benchmarks

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


def test_the_figure_names_the_largest_gain_and_describes_each_bar(run, rows):
    page = benchmark_figure(run, rows).data
    assert "The largest gain is 12 times, for RF regression at N = 1000" in page
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
