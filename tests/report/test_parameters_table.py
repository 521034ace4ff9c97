"""The table of a run's parameters."""

from types import SimpleNamespace

from bs4 import BeautifulSoup

from memorization.report.tables import parameter_table
from memorization.runs.parameters import declared


def test_each_parameter_has_its_value_meaning_unit_and_range():
    known = declared("width: int = 8  # features | count | 1..9\nnames: list[str] = ['a']  # m | u | any")
    run = SimpleNamespace(
        name="tiny", profile="book", settings={"width": 3, "names": ["a", "b"]}, parameters=known
    )
    page = BeautifulSoup(parameter_table(run).data, "html.parser")
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in page.find("tbody").find_all("tr")]
    assert rows == [
        ["width", "3", "features", "count", "1..9"],
        ["names", "a, b", "m", "u", "any"],
    ]
