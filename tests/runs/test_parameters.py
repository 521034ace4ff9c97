"""Declarations of parameters, and what is refused."""

import pytest

from memorization.runs.parameters import ParameterError, check_parameters, declared, source_path

CELL = """
width: int = 8000  # number of random features | features | 1..1000000
alphas: list[float] = [0.25, 0.5]  # spurious fraction | fraction | (0..1)
ridge: float = 0.0  # added to the kernel | kernel units | 0..
law: str = "gaussian"  # law of the inputs | name | one of gaussian, spheres
nested: bool = True  # nested training sets | flag | any
names: dict[str, int] = {"a": 1}  # levels by name | level | 0..9
"""
KNOWN = declared(CELL)


def refusal(**given):
    with pytest.raises(ParameterError) as error:
        check_parameters(KNOWN, given)
    return str(error.value)


def test_a_declaration_gives_type_default_meaning_unit_and_allowed_values():
    width = KNOWN["width"]
    assert (width.type, width.default, width.unit, width.allowed) == ("int", 8000, "features", "1..1000000")
    assert width.meaning == "number of random features"


def test_without_given_values_every_parameter_has_its_default():
    assert check_parameters(KNOWN, {})["alphas"] == [0.25, 0.5]


def test_an_unknown_name_is_refused_and_the_nearest_one_is_named():
    text = refusal(widht=3)
    assert "unknown parameter 'widht'" in text
    assert "Did you mean 'width'?" in text


def test_every_problem_is_told_at_once():
    text = refusal(widht=3, law="cauchy", ridge=-1.0)
    assert text.count("\n") == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"width": "many"}, "allowed: type int"),
        ({"width": True}, "allowed: type int"),
        ({"width": 2.0}, "allowed: type int"),
        ({"width": 0}, "allowed: 1..1000000"),
        ({"alphas": [0.5, 1.0]}, "allowed: (0..1)"),
        ({"alphas": 0.5}, "a list of float with at least one element"),
        ({"alphas": []}, "at least one element"),
        ({"ridge": float("nan")}, "type float, finite"),
        ({"law": "spheers"}, "Did you mean 'spheres'?"),
        ({"nested": 1}, "allowed: type bool"),
        ({"names": [1]}, "a mapping"),
        ({"names": {"b": 10}}, "allowed: 0..9"),
    ],
)
def test_a_wrong_type_or_value_is_refused_with_what_is_allowed(given, told):
    assert told in refusal(**given)


def test_an_integer_is_a_float_and_so_is_a_number_that_yaml_reads_as_text():
    values = check_parameters(KNOWN, {"ridge": 1, "alphas": ["1e-3"]})
    assert values["ridge"] == 1.0
    assert values["alphas"] == [0.001]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("width", "12", 12),
        ("ridge", "1e-3", 0.001),
        ("alphas", "[0.1, 0.2]", [0.1, 0.2]),
        ("law", "spheres", "spheres"),
    ],
)
def test_a_typed_value_is_read_by_its_declared_type(name, text, value):
    assert KNOWN[name].parse(text) == value


def test_a_typed_value_that_is_no_yaml_is_refused():
    with pytest.raises(ParameterError, match="written as in YAML"):
        KNOWN["alphas"].parse("[0.1,")


@pytest.mark.parametrize(
    "line",
    [
        "width = 3",
        "width: int = 3",
        "width: int = 3  # meaning only",
        "width: int = 3  # meaning | unit | roughly 3",
        "width: complex = 3  # meaning | unit | any",
        "width: int = n + 1  # meaning | unit | any",
        "width: int = 3  # meaning | unit | 5..9",
    ],
)
def test_a_line_that_is_no_declaration_is_refused(line):
    with pytest.raises(ParameterError, match="width"):
        declared(line)


LISTS = """
sizes: list[int] = [1, 2]  # sizes | examples | 1..
names: list[str] = []  # names | name | any; may be empty
widths: list[int] = [4, 4]  # widths | neurons | 1..; may repeat
"""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": []}, r"sizes = \[\] .*allowed: a list of int with at least one element"),
        ({"sizes": [3, 3]}, r"sizes = \[3, 3\] .*allowed: each element once"),
        ({"names": ["a", "a"]}, "allowed: each element once"),
        ({"widths": []}, "with at least one element"),
    ],
)
def test_empty_and_doubled_lists_are_refused_where_they_are_swept(given, message):
    with pytest.raises(ParameterError, match=message):
        check_parameters(declared(LISTS), given)


def test_lists_that_may_be_empty_or_repeat_say_so():
    assert check_parameters(declared(LISTS), {"names": [], "widths": [2, 2]})["widths"] == [2, 2]


def test_a_name_with_a_path_in_it_is_no_notebook(tiny):
    for name in ("notebooks/tiny", "tiny.py", "../notebooks/tiny"):
        with pytest.raises(ParameterError, match=r"Did you mean 'tiny'.*a name without folder and without"):
            source_path(tiny, name)
