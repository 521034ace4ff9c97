import json
from pathlib import Path

import pytest
from conftest import calls

from memorization.runs import cli
from memorization.runs.parameters import ParameterError
from memorization.runs.replication import replicate, replications

CLAIM = """
- id: T-1
  paper: someone2024
  place: Figure 1
  statement: The value is large.
  profiles: [book, smoke]
  null_records: untrained
  origin: paper
  tolerance_origin: made for the test
  checks: [{what: a number, records: toy, value: value, test: at_least, bound: 0, each: alpha}]
"""
JUDGED = """
# %%
from memorization.report.judging import judge

_ = judge(run, None, {"toy": rows})
"""


@pytest.fixture
def judged(tiny):
    """The tiny project with a first seed, two seeds, and a claim that seeds from 5 on decide."""
    path = tiny / "notebooks" / "tiny.py"
    text = path.read_text().replace("label: str", SEEDS + "label: str").replace("seeds=2", "seeds=few_seeds")
    path.write_text(text + JUDGED)
    (tiny / "notebooks" / "claims").mkdir()
    (tiny / "notebooks" / "claims" / "tiny.yaml").write_text(CLAIM)
    return tiny


SEEDS = """first_seed: int = 3  # the first of the seeds | seed | 0..100
few_seeds: int = 2  # networks | seeds | 1..10
"""


def test_sets_are_disjoint_and_each_verdict_is_counted(judged):
    path = replicate(judged, "tiny", "book", 4)
    assert path == judged / "_build" / "replications" / "tiny.book.json"
    found = json.loads(path.read_text())
    assert [one["first_seed"] for one in found["sets"]] == [3, 5, 7, 9]
    # the least mean of two seeds from s on is s + 1.5, and half of its interval 12.7 / 2
    assert [one["verdicts"]["T-1"] for one in found["sets"]] == ["undecided", *["reproduced"] * 3]
    assert found["counts"] == {"T-1": {"undecided": 1, "reproduced": 3}}
    assert (found["notebook"], found["profile"], found["stride"]) == ("tiny", "book", 2)
    assert found["sets"][0]["seeds"] == {"few_seeds": 2}
    assert {call.split()[2] for call in calls(judged)} == {str(seed) for seed in range(3, 11)}
    assert found["gaps"][0]["gaps"] == [float(seed + 1) for seed in range(3, 11)]


def test_a_replication_that_was_stopped_goes_on_and_reads_what_is_there(judged, monkeypatch):
    replicate(judged, "tiny", "book", 2)
    made = len(calls(judged))
    replicate(judged, "tiny", "book", 3)
    assert len(calls(judged)) == made + 4  # the third set's two seeds at two values of alpha
    profiles_own = judged / "_build" / "verdicts" / "tiny.book.json"
    assert json.loads(profiles_own.read_text())[0]["profile"] == "book"


@pytest.mark.parametrize(
    ("sets", "change", "message"),
    [
        (1, "", "--sets 1; allowed: 2 or more"),
        (60, "", "first_seed"),
        (2, "claims", "has no claims, so no verdict to replicate"),
        (2, "first_seed", "tiny has no parameter first_seed"),
    ],
)
def test_what_cannot_be_replicated_is_said_before_anything_runs(judged, sets, change, message):
    if change == "claims":
        (judged / "notebooks" / "claims" / "tiny.yaml").unlink()
    if change == "first_seed":
        path = judged / "notebooks" / "tiny.py"
        path.write_text(path.read_text().replace("first_seed: int", "begin: int"))
    with pytest.raises(ParameterError, match=message):
        replications(judged, "tiny", "book", sets)
    assert calls(judged) == []


def test_the_command_says_where_the_counts_are(judged, capsys):
    assert cli.main(["--root", str(judged), "replicate", "tiny", "--sets", "2", "--profile", "smoke"]) == 0
    assert "tiny.smoke.json" in capsys.readouterr().out
    assert cli.main(["--root", str(judged), "replicate", "tinny", "--sets", "2"]) == 2
    assert "tinny" in capsys.readouterr().err


def test_replications_are_published(judged):
    replicate(judged, "tiny", "book", 2)
    assert cli.main(["--root", str(judged), "results", "--profile", "book"]) == 0
    assert Path(judged / "results" / "replications" / "tiny.book.json").is_file()
