"""A page of the book, made of an executed notebook: its order, words on folded code, links to experiments."""

import json
import subprocess

import pytest

from memorization.runs.pages import as_page, unmade_page


def cell(kind, source, *tags):
    return {"cell_type": kind, "id": "c", "metadata": {"tags": list(tags)}, "source": source}


@pytest.fixture
def pages(tmp_path):
    """Make a page of cells, in a project with one experiment; return its cells."""
    module = tmp_path / "lib" / "memorization" / "studies" / "toy.py"
    module.parent.mkdir(parents=True)
    module.write_text("import math\n\n\ndef point(seed):\n    return {}\n")

    def make(*cells):
        path = tmp_path / "toy.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        return json.loads(as_page(tmp_path, path))["cells"]

    return make


def test_the_short_version_follows_the_title_and_the_parameters_come_last(pages):
    cells = [
        cell("markdown", "# Title"),
        cell("markdown", "## Parameters", "setup"),
        cell("code", "n: int = 1", "parameters", "hide-input"),
        cell("code", "n = 2", "injected-parameters", "hide-input"),
        cell("markdown", "## Question"),
        cell("markdown", "## In short", "in-short"),
        cell("code", "in_short(verdicts)", "in-short"),
    ]
    order = [one["source"] for one in pages(*cells)]
    assert order == [cells[at]["source"] for at in (0, 5, 6, 4, 1, 2, 3)]


@pytest.mark.parametrize(
    ("source", "tags", "words"),
    [
        ("n: int = 1", ["parameters"], "Parameters"),
        ("n = 2", ["injected-parameters"], "Parameters of this run"),
        ("import numpy", ["setup"], "Imports"),
        ("figure = panels(1)\nshow(run, figure)", [], "Plotting code"),
        ("table(frame)", [], "Table code"),
        ("verdicts = judge(run)\nverdict_table(verdicts)", [], "Judging code"),
        ("rows = run.sweep(point, grid)\nshow(run, rows)", [], "Experiment"),
        ("x = 1", [], "Code"),
    ],
)
def test_folded_code_says_what_it_holds(pages, source, tags, words):
    shown = pages(cell("markdown", "# Title"), cell("code", source, "hide-input", *tags))[1]
    assert shown["metadata"]["mystnb"]["code_prompt_show"] == words
    assert "mystnb" not in pages(cell("markdown", "# Title"), cell("code", source))[1]["metadata"]


def test_a_page_shows_the_files_of_pictures_and_not_what_is_inside_the_notebook(tmp_path):
    html = '<picture><source data-file="figures/a-narrow.png" srcset="data:image/png;base64,AA+/=">'
    html += '<img data-file="figures/a.png" src="data:image/png;base64,BB==" alt="a"></picture>'
    output = {"output_type": "display_data", "data": {"text/html": [html]}}
    path = tmp_path / "toy.ipynb"
    path.write_text(json.dumps({"cells": [cell("code", "x = 1") | {"outputs": [output]}]}))
    (shown,) = json.loads(as_page(tmp_path, path))["cells"][0]["outputs"][0]["data"]["text/html"]
    assert shown == (
        '<picture><source srcset="figures/a-narrow.png"><img src="figures/a.png" alt="a"></picture>'
    )


def test_an_experiment_links_to_where_it_is_defined(pages):
    imports = cell("code", "from memorization.studies.toy import point\nfrom far.away import other")
    made = pages(
        imports, cell("code", "a = run.sweep(point, g)\nb = run.recorded(other, g)"), cell("code", "c = 1")
    )
    links = [one["source"] for one in made if one["cell_type"] == "markdown"]
    assert len(links) == 1
    assert links[0].startswith("Source of the experiment: [`point`](https://github.com/")
    assert links[0].endswith("/blob/main/lib/memorization/studies/toy.py#L4)")  # no git here, so no commit


def test_figures_and_claims_link_to_their_lines_at_the_commit_that_changed_them_last(tmp_path):
    (tmp_path / "notebooks" / "claims").mkdir(parents=True)
    (tmp_path / "notebooks" / "toy.py").write_text("# %%\na = 1\n\n# %%\nshow(run)\n")
    (tmp_path / "notebooks" / "claims" / "toy.yaml").write_text("- id: T-1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    ask = ["git", "-C", str(tmp_path), "rev-parse", "HEAD"]
    commit = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    html = '<a href="https://x.org/blob/main/notebooks/toy.py">source</a>'
    html += '<a href="https://x.org/blob/main/notebooks/claims/toy.yaml#L1-L1">claims</a>'
    output = {"output_type": "display_data", "data": {"text/html": [html]}}
    path = tmp_path / "toy.ipynb"
    path.write_text(json.dumps({"cells": [cell("code", "show(run)") | {"outputs": [output]}]}))
    (shown,) = json.loads(as_page(tmp_path, path))["cells"][0]["outputs"][0]["data"]["text/html"]
    assert f'/blob/{commit}/notebooks/toy.py#L5"' in shown
    assert f'/blob/{commit}/notebooks/claims/toy.yaml#L1-L1"' in shown


@pytest.fixture
def words(tmp_path):
    """A project whose notebook has a parameter file with words of its own."""
    folder = tmp_path / "notebooks" / "parameters"
    folder.mkdir(parents=True)
    (folder / "toy.desktop.yaml").write_text("# Larger pictures:\n# an hour.\nprofile: desktop\n")
    (folder.parent / "toy.py").write_text("# %% [markdown]\n# (nb-toy)=\n# # Does it work?\n")
    return tmp_path


def test_a_page_at_another_scale_has_labels_and_figures_of_its_own_and_says_what_it_is(words):
    refers = "See {{eq}}`{0}eq-x`, [here]({0}price), {{ref}}`there <{0}price>`, {{ref}}`own`."
    text = f"(nb-toy)=\n# Does it work?\n\n$$\nx\n$$ (eq-x)\n\n{refers.format('')}"
    said = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": "By {eq}`eq-x` (price)"}}
    drawn = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": 'src="figures/toy/a.png" price'},
    }
    cells = [cell("markdown", text), cell("markdown", "(price)=\n## Price"), cell("code", "show(price)")]
    cells[2]["outputs"] = [said, drawn]
    path = words / "toy.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    title, price, code = json.loads(as_page(words, path, scale="desktop"))["cells"]
    assert title["source"].startswith("(desktop-nb-toy)=\n# Does it work? (profile desktop)\n")
    assert "Larger pictures: an hour." in title["source"]
    assert "[the page](toy.ipynb)" in title["source"]
    assert title["source"].endswith(f"$$ (desktop-eq-x)\n\n{refers.format('desktop-')}")
    assert price["source"].startswith("(desktop-price)=")
    assert code["source"] == "show(price)"
    assert code["outputs"][0]["data"]["text/markdown"].startswith("By {eq}`desktop-eq-x`")
    assert 'src="desktop/figures/toy/a.png" price' in code["outputs"][1]["data"]["text/html"]


def test_the_page_of_a_scale_that_was_not_executed_says_what_it_would_take(words):
    text = unmade_page(words, "toy", "desktop")
    assert text.startswith("# Does it work? (profile desktop)\n")
    assert "Larger pictures: an hour." in text
    assert "make notebooks html PROFILE=desktop" in text
    assert "hours" not in text
    for kind, rows in {
        "prices": [{"seconds": 5400, "peak_mib": 2048, "device": "a cpu", "cores": 2}],
        "verdicts": [{"verdict": "reproduced"}, {"verdict": "reproduced"}, {"verdict": "undecided"}],
    }.items():
        (words / "results" / kind).mkdir(parents=True)
        (words / "results" / kind / "toy.desktop.json").write_text(json.dumps(rows))
    text = unmade_page(words, "toy", "desktop")
    assert "took 1.5 hours and 2 GiB on a cpu, 2 cores" in text
    assert "3 claims" in text
    assert "2 reproduced, 1 undecided" in text
