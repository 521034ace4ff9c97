"""pyproject.toml (ranges), requirements.lock (pins) and environment.yml (conda) say the same."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# For experiments with weights, data and GPUs: neither installed by `make` nor pinned.
ON_DEMAND = {"clip", "text"}
EXTRAS = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in ON_DEMAND}
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith(("#", "-"))  # an option is found by a test of its own
]
PINS = {canonicalize_name(pin.name): pin for pin in LOCK}
# torch's CUDA builds bring these, pinned by torch itself; the lock file serves its CPU builds too.
CUDA = re.compile(r"(nvidia|cuda)-|triton$")


def pinned_version(pin: Requirement) -> Version:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


def asked_for() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    return [Requirement(line) for line in lines]


def installed_closure() -> set[str]:
    """Names of all packages that the project's extras need on this machine, read off what is installed."""
    seen: set[tuple[str, str]] = set()
    queue = asked_for()
    while queue:
        wanted = queue.pop()
        for extra in {"", *wanted.extras}:
            key = (canonicalize_name(wanted.name), extra)
            if key in seen:
                continue
            seen.add(key)
            needs = [Requirement(line) for line in metadata.requires(wanted.name) or []]
            queue += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


@pytest.fixture(scope="module")
def closure() -> set[str]:
    try:
        return installed_closure()
    except metadata.PackageNotFoundError as missing:
        pytest.skip(f"not every extra is installed here: {missing.name} is absent")


@pytest.mark.parametrize("wanted", asked_for(), ids=lambda wanted: wanted.name)
def test_every_requirement_has_a_pin_inside_its_range(wanted):
    pin = PINS[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(pinned_version(pin), prereleases=True)


def test_no_package_is_pinned_twice():
    assert len(PINS) == len(LOCK)


def test_every_pin_is_one_public_version():
    assert [str(pin) for pin in LOCK if pinned_version(pin).local is not None] == []


def test_the_lock_names_no_host_and_no_hash():
    assert re.findall(r"://|--hash|--find-links|--index", (ROOT / "requirements.lock").read_text()) == []


def test_everything_that_the_extras_bring_is_pinned(closure):
    assert {name for name in closure - PINS.keys() if not CUDA.match(name)} == set()


def test_no_pin_is_a_stray(closure):
    here = {name for name, pin in PINS.items() if pin.marker is None or pin.marker.evaluate()}
    assert here - closure == set()


def conda() -> tuple[list[str], list[str]]:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    return [entry for entry in dependencies if isinstance(entry, str)], pip


def test_conda_brings_a_python_that_the_project_supports():
    (python,) = (entry for entry in conda()[0] if entry.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


def test_conda_takes_the_pins_and_the_extras_of_the_makefile():
    extras = re.search(r"^EXTRAS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert conda()[1] == ["-c requirements.lock", f"-e .[{extras[1]}]"]


def test_the_makefile_installs_every_extra_but_those_on_demand():
    extras = re.search(r"^EXTRAS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(extras[1].split(",")) == EXTRAS.keys()


def test_the_lock_is_resolved_for_every_extra():
    assert set(re.findall(r"--extra (\w+)", (ROOT / ".ci/lock").read_text())) == EXTRAS.keys()
