"""The first call of a notebook, in a kernel, in a script, with and without mistakes."""

import pytest

from memorization.runs.parameters import ParameterError, parameters_cell
from memorization.runs.start import start

CELL = (
    'profile: str = "book"  # which | name | one of smoke, book\nwidth: int = 4  # features | features | 1..9'
)


def kernel(*cells, **names):
    return {"In": ["", *cells], "profile": "book", "width": 4, **names}


def test_the_settings_are_the_parameters_and_cannot_be_changed():
    run = start("tiny", kernel(CELL))
    assert dict(run.settings) == {"profile": "book", "width": 4}
    with pytest.raises(TypeError):
        run.settings["width"] = 5


def test_an_injected_value_counts():
    assert start("tiny", kernel(CELL, "# Parameters\nwidth = 7\n", width=7)).settings["width"] == 7


def test_a_misspelled_name_in_an_injected_cell_is_refused():
    with pytest.raises(ParameterError, match="Did you mean 'width'"):
        start("tiny", kernel(CELL, "# Parameters\nwidht = 7\n", widht=7))


def test_other_names_of_the_notebook_are_no_parameters():
    start("tiny", kernel(CELL, "widht = 7", widht=7))


def test_a_wrong_value_is_refused():
    with pytest.raises(ParameterError, match=r"width = 10 .*allowed: 1\.\.9"):
        start("tiny", kernel(CELL, width=10))


def test_without_a_parameters_cell_it_says_what_to_do():
    with pytest.raises(ParameterError, match="run the notebook from its first cell"):
        start("tiny", {"In": ["", "x = 1"]})


def test_a_script_is_its_own_source(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(f'# %% tags=["parameters"]\n{CELL}\n\n# %%\nx = 1\n')
    assert start("tiny", {"__file__": str(path), "profile": "book", "width": 5}).settings["width"] == 5


def test_figures_and_verdicts_go_where_the_runner_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORIZATION_OUTPUT", str(tmp_path))
    run = start("tiny", kernel(CELL))
    assert run.figures_folder == tmp_path / "figures" / "tiny"
    assert run.verdicts_path == tmp_path / "verdicts" / "tiny.book.json"
    assert run.figures_href == "figures/tiny"


def test_a_function_that_takes_a_device_gets_the_runs_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMORIZATION_ROOT", str(tmp_path))

    def point(*, device="cpu", seed):
        return {"where": device}

    run = start("tiny", kernel(f'{CELL}\ndevice: str = "meta"  # where | name | any', device="meta"))
    table = run.sweep(point, [{}], progress=False)
    assert table["where"].tolist() == ["meta"]
    assert "device" not in table


def test_a_cell_edited_in_a_kernel_makes_another_run_than_the_profiles(tiny, monkeypatch):
    monkeypatch.setenv("MEMORIZATION_ROOT", str(tiny))
    cell = parameters_cell(tiny / "notebooks" / "tiny.py")
    values = {"alphas": [0.25, 0.5], "label": "none"}
    own = start("tiny", kernel(cell, **values))
    edited = start("tiny", kernel(cell.replace("int = 4", "int = 5"), **values, width=5))
    assert (own.own, own.output) == (True, tiny / "_build")
    assert edited.output == tiny / "_build" / "notebooks" / "book-custom" / "tiny_files"
    assert edited.store.path.name == "tiny.book-custom.jsonl"


SEEDED = CELL + "\nfirst_seed: int = 3  # first of the seeds | seed | 0..1000000"


def point(*, width=1, seed):
    return {"value": width * seed}


@pytest.fixture
def seeded(tiny, monkeypatch):
    """The run of a page whose profile book counts from 100, and smoke from the page's own 3."""
    monkeypatch.setenv("MEMORIZATION_ROOT", str(tiny))
    page = tiny / "notebooks" / "tiny.py"
    page.write_text(f'# %% tags=["parameters"]\n{SEEDED}\n')
    parameters = tiny / "notebooks" / "parameters"
    (parameters / "tiny.book.yaml").write_text("first_seed: 100\n")
    (parameters / "tiny.smoke.yaml").write_text("{}\n")
    return start("tiny", {"__file__": str(page), "profile": "book", "width": 4, "first_seed": 100})


def test_seeds_are_counted_from_the_parameter(seeded):
    assert seeded.own
    assert seeded.sweep(point, [{}], seeds=2, progress=False)["seed"].tolist() == [100, 101]


def test_what_another_profile_published_is_asked_by_its_own_first_seed(seeded):
    seeded.sweep(point, [{}], seeds=range(6), store=seeded.published / "records" / "tiny.smoke.jsonl")
    assert seeded.recorded(point, [{}], "smoke", seeds=2)["seed"].tolist() == [3, 4]
    assert seeded.recorded(point, [{}], "book", seeds=1, progress=False)["seed"].tolist() == [100]


def test_a_page_without_the_parameter_counts_from_0(tiny, monkeypatch):
    monkeypatch.setenv("MEMORIZATION_ROOT", str(tiny))
    run = start("tiny", kernel(CELL))
    assert run.sweep(point, [{}], seeds=2, progress=False)["seed"].tolist() == [0, 1]
