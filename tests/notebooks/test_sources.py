"""The notebooks as texts: parameters, profiles, cells, claims."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from memorization.report.claims import read_claims
from memorization.runs.parameters import (
    PROFILES,
    check_parameters,
    declared_parameters,
    names,
    profile_values,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES = names(ROOT)
PAPERS = {
    "benign_memorization", "feature_contamination", "pitfalls_of_memorization", "random_label_heads",
    "spurious_memorization",
}  # fmt: skip
FROM_100 = {"pitfalls_of_memorization", "random_label_heads"}  # whose records begin at seed 100


def cells(name, kind):
    """The cells of a notebook; the twenty lines, which stand alone, have rules and tests of their own."""
    text = (ROOT / "notebooks" / f"{name}.py").read_text()
    parts = re.split(r"^# %%(.*)$", text, flags=re.M)[1:]
    pairs = [pair for pair in zip(parts[::2], parts[1::2], strict=True) if "twenty-lines" not in pair[0]]
    return [body for head, body in pairs if ("[markdown]" in head) == (kind == "markdown")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_file_holds_known_parameters_with_allowed_values(name, profile):
    if name not in PAPERS and profile in ("desktop", "paper"):
        pytest.skip("shows what others measured, so it has no larger profile")
    check_parameters(declared_parameters(ROOT, name), profile_values(ROOT, name, profile))


@pytest.mark.parametrize("name", NAMES)
def test_the_book_profile_is_what_the_notebook_declares(name):
    known = declared_parameters(ROOT, name)
    assert check_parameters(known, profile_values(ROOT, name, "book")) == {
        n: p.default for n, p in known.items()
    }


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_the_books_seeds_are_none_of_those_that_chose_a_bound(name):
    begin = declared_parameters(ROOT, name)["first_seed"].default
    claims = read_claims(ROOT / "notebooks" / "claims" / f"{name}.yaml")
    assert begin >= max(check.pilot_seeds for claim in claims for check in claim.checks)


@pytest.mark.parametrize("name", sorted(PAPERS - FROM_100))
@pytest.mark.parametrize("profile", ["smoke", "desktop", "paper"])
def test_the_other_profiles_count_seeds_from_0_as_their_published_records_do(name, profile):
    known = declared_parameters(ROOT, name)
    assert check_parameters(known, profile_values(ROOT, name, profile))["first_seed"] == 0


def test_every_parameter_file_belongs_to_a_notebook_and_a_profile():
    files = {path.stem for path in (ROOT / "notebooks" / "parameters").glob("*.yaml")}
    assert files <= {f"{name}.{profile}" for name in NAMES for profile in PROFILES}


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short(name):
    for cell in cells(name, "code"):
        if '"parameters"' in cell or "profile: str" in cell:
            continue
        lines = [line for line in cell.splitlines() if line.strip() and not line.startswith("#")]
        assert len(lines) <= 15, cell


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_defines_no_class_and_at_most_one_short_function(name):
    tree = ast.parse("\n".join(cells(name, "code")))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    assert len(functions) <= 1
    assert all((f.end_lineno or 0) - f.lineno < 4 for f in functions)


@pytest.mark.parametrize("name", NAMES)
def test_no_output_is_stored_in_a_source(name):
    assert "data:image" not in (ROOT / "notebooks" / f"{name}.py").read_text()


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_every_claim_cites_a_paper_of_the_bibliography(name):
    keys = set(re.findall(r"@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text()))
    claims = read_claims(ROOT / "notebooks" / "claims" / f"{name}.yaml")
    assert {claim.paper for claim in claims} <= keys


# P: at the size of the paper's own experiments; N: not claimed
@pytest.mark.parametrize(
    ("name", "short", "counts"),
    [
        ("spurious_memorization", "SM", {"": 27, "N": 2}),
        ("benign_memorization", "BM", {"": 19, "N": 3}),
        ("pitfalls_of_memorization", "PM", {"": 20, "N": 1}),
        ("feature_contamination", "FC", {"": 16, "P": 6, "N": 3}),
        ("random_label_heads", "RL", {"": 20}),
    ],
)
def test_a_paper_has_all_its_claims(name, short, counts):
    claims = read_claims(ROOT / "notebooks" / "claims" / f"{name}.yaml")
    numbered = [f"{short}-{part}{n}" for part, count in counts.items() for n in range(1, count + 1)]
    parts = [re.sub("[a-c]$", "", claim.id) for claim in claims]  # RL-3a, RL-3b and RL-3c are parts of one
    assert list(dict.fromkeys(parts)) == numbered


def test_no_two_claims_files_share_an_id():
    ids = [
        e["id"] for p in (ROOT / "notebooks" / "claims").glob("*.yaml") for e in yaml.safe_load(p.read_text())
    ]
    assert len(ids) == len(set(ids))
