import pytest

from memorization.report.claims import ClaimError, read_claims

CHECK = {"test": "at_most", "bound": 1}


def test_a_claim_is_read_with_its_checks(claims_of):
    (claim,) = claims_of({**CHECK, "each": "N"}, {"test": "positive", "profiles": ["paper"]})
    assert (claim.id, claim.profiles) == ("T-1", ("book",))
    first, second = claim.checks
    assert (first.each, first.bound, first.profiles) == (("N",), 1.0, ("book",))
    assert second.profiles == ("paper",)


def test_the_origin_of_a_tolerance_is_taken_from_the_claim(claims_of):
    (claim,) = claims_of(CHECK)
    assert claim.checks[0].tolerance_origin == "made for the test"


def test_a_small_number_that_yaml_reads_as_text_is_a_number(claims_of):
    (claim,) = claims_of({"test": "at_most", "bound": "1e-10"})
    assert claim.checks[0].bound == 1e-10


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"test": "at_mots", "bound": 1}, "unknown test 'at_mots'; did you mean 'at_most'"),
        (
            {**CHECK, "reduce": "xyz"},
            "unknown reduce 'xyz'; choose one of mean, max, min, range, spearman, difference",
        ),
        ({**CHECK, "over_seeds": "wrost"}, "unknown over_seeds 'wrost'; did you mean 'worst'"),
        ({**CHECK, "wheer": "N > 1"}, "unknown key 'wheer'; did you mean 'where'"),
        ({**CHECK, "profiles": ["boko"]}, "unknown profile 'boko'; did you mean 'book'"),
        ({**CHECK, "profiles": "book"}, r"'profiles' is a list such as \[book, desktop\], got 'book'"),
        ({"test": "at_most"}, "test 'at_most' with reduce 'mean' needs 'bound'"),
        ({"test": "equals", "bound": 1}, "does not use 'bound'"),
        ({"test": "between", "bound": 1}, r"'bound' is \[low, high\] for 'between'"),
        ({"test": "at_most", "bound": [0, 1]}, r"'bound' is \[low, high\] for 'between'"),
        ({**CHECK, "reduce": "spearman"}, "needs 'against'"),
        ({**CHECK, "where": "N.max() > 1"}, r"where: 'N.max\(\) > 1' holds a call"),
        ({**CHECK, "value": "__import__('os')", "profiles": ["paper"]}, "value: .* holds a call"),
        ({"test": "at_most", "bound": "N[0]"}, "bound: .* holds Subscript"),
        ({"test": "equals", "expected": "@N"}, "expected: '@N' is no expression"),
        ({**CHECK, "where": 5}, "where: give a text, got 5"),
        ({"test": "at_most", "bound": float("nan")}, "bound: give a number"),
        ({"test": "between", "bound": [0, float("inf")]}, "bound: give a number"),
        ({"test": "order", "by": "kind", "sequence": "high"}, "'sequence' is a list of groups, got 'high'"),
        ({"test": "order", "by": "kind", "sequence": ["high"]}, "'sequence' lists two or more groups"),
        (
            {"test": "order", "by": ["kind", "N"], "sequence": ["a", "b"]},
            "each with one value per column of 'by'",
        ),
        ({**CHECK, "over_seeds": "worst", "average_first": "N"}, "so it excludes 'average_first'"),
        ({**CHECK, "average_first": True}, "average_first: give a list of column names"),
        ({**CHECK, "tolerance": None}, "give a number, an expression over columns"),
        (
            {**CHECK, "tolerance_origin": ""},
            "say in 'tolerance_origin' where the bound or tolerance comes from",
        ),
    ],
)
def test_a_wrong_check_is_refused_with_its_place(claims_of, check, message):
    with pytest.raises(ClaimError, match=rf"claims.yaml, entry 1 \(T-1\): check 1: .*{message}"):
        claims_of(check)


def test_a_missing_key_of_a_claim_is_named(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("- {id: T-1, paper: p, place: Fig. 1, profiles: [book], checks: [{}]}")
    with pytest.raises(ClaimError, match=r"entry 1 \(T-1\): the key 'statement' is missing"):
        read_claims(path)


def test_an_id_that_appears_twice_is_refused(claims_of, tmp_path):
    claims_of(CHECK)
    path = tmp_path / "claims.yaml"
    path.write_text(path.read_text() * 2)
    with pytest.raises(ClaimError, match=r"entry 2 \(T-1\): another claim has this id"):
        read_claims(path)


def test_a_claim_without_checks_is_refused(claims_of):
    with pytest.raises(ClaimError, match="'checks' is a list of at least one check"):
        claims_of()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: T-1", "should hold a list of claims"),
        ("- [", "is not valid YAML"),
        ("- {id: 2026-13-45}", "is not valid YAML"),
        (
            "- !!python/object/apply:os.system ['true']",
            "is not valid YAML: could not determine a constructor",
        ),
        ("[" * 5000, "is not valid YAML"),
        ("- just text", "a claim is a mapping that starts with 'id: …', got 'just text'"),
    ],
)
def test_a_file_that_is_no_list_of_claims_is_refused(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ClaimError, match=message):
        read_claims(path)


def test_an_absent_file_says_what_to_do(tmp_path):
    with pytest.raises(ClaimError, match=r"there is no claims file .*none.yaml; write one"):
        read_claims(tmp_path / "none.yaml")
