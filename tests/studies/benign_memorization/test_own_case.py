"""The report on a network of one's own: a small one that really memorizes random labels."""

import copy
import math

import pytest
import torch
from torch import nn

from memorization.data.image_sets import load_images
from memorization.measures.accuracy import calibrated
from memorization.studies.benign_memorization.own_network import memorization_report

SITES = {"conv": "1", "embedding": "3", "logits": "4"}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Sequential(nn.Flatten(), nn.Linear(16 * 64, 64), nn.ReLU()),
        nn.Linear(64, 10),
    )


def noisy(images, chance, strength=1.0):
    return images + 0.1 * strength * torch.randn(images.shape, generator=chance)


@pytest.fixture(scope="module")
def data():
    """60 digits with random labels, and 300 others to test on."""
    images = load_images("digits", "all")
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1234))[:360]
    pixels, true = images.pixels[order] / 16, images.labels[order]
    labels = torch.randint(0, 10, (60,), generator=torch.Generator().manual_seed(17))
    return {
        "images": pixels[:60],
        "labels": labels,
        "true_labels": true[:60],
        "test_images": pixels[60:],
        "test_labels": true[60:],
    }


@pytest.fixture(scope="module")
def initial():
    return network()


@pytest.fixture(scope="module")
def trained(data, initial):
    model = copy.deepcopy(initial).train()
    goal = nn.functional.one_hot(data["labels"], 10).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(data["images"]), goal).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def report(data, initial, trained):
    return memorization_report(trained, initial, **data, policy=noisy, sites=SITES, k=5)


def test_the_table_has_one_row_per_site_in_order(report):
    assert report.table["site"].tolist() == ["conv", "embedding", "logits"]
    assert report.table["size"].tolist() == [16 * 16, 64, 10]


def test_every_measure_of_every_site_is_a_number_in_its_range(report):
    numbers = report.table.drop(columns=["site", "size"])
    assert numbers.notna().all().all()
    assert (numbers >= 0).all().all()
    assert (numbers.drop(columns="invariance") <= 1).all().all()


def test_the_random_labels_are_read_at_the_end_and_not_at_the_start(report):
    noise = report.table.set_index("site")["noise_probe"]
    assert noise["conv"] < 0.3
    assert noise["logits"] > 0.9


def test_the_true_labels_are_read_at_the_start_and_not_at_the_end(report):
    clean = report.table.set_index("site")["clean_probe"]
    assert clean["conv"] > 0.7
    assert clean["logits"] < 0.5


def test_memorization_is_complete_and_the_networks_own_answers_are_near_chance(report):
    assert report.accuracies["clean_view"] == 1.0
    assert report.accuracies["fresh_view"] > 0.8
    assert report.accuracies["test"] < 0.3


def test_memorization_without_augmentation_is_malign(report):
    row = report.table.set_index("site").loc["embedding"]
    assert report.verdict.kind == "malign"
    assert report.verdict.probe == row["clean_probe"]
    assert report.verdict.probe_init == row["initial_probe"]
    assert report.verdict.others == {"fresh_view": report.accuracies["fresh_view"]}


def test_an_untrained_network_has_not_memorized(data, initial):
    report = memorization_report(copy.deepcopy(initial), initial, **data, sites=SITES, k=5)
    assert report.verdict.kind == "not memorized"


def test_the_trained_network_is_not_its_own_beginning(data, trained):
    with pytest.raises(ValueError, match=r"initial is the trained network itself; give a copy made before"):
        memorization_report(trained, trained, **data, sites=SITES, k=5)


def test_an_untrained_network_differs_from_itself_by_calibration_alone(data, initial):
    table = memorization_report(copy.deepcopy(initial), initial, **data, sites=SITES, k=5).table
    assert table["clean_probe"].tolist() == table["initial_probe_uncalibrated"].tolist()
    set_by_one_pass = calibrated(initial, data["images"])
    table = memorization_report(set_by_one_pass, initial, **data, sites=SITES, k=5).table
    assert table["clean_probe"].tolist() == table["initial_probe"].tolist()
    assert table["clean_probe"].tolist() != table["initial_probe_uncalibrated"].tolist()


def test_without_a_policy_there_is_no_invariance_and_the_report_says_so(data, initial, trained):
    report = memorization_report(trained, initial, **data, sites=SITES, k=5)
    assert all(math.isnan(value) for value in report.table["invariance"])
    assert "fresh_view" not in report.accuracies
    assert "no policy was given: neither fresh views nor invariance were measured" in report.warnings


def test_without_an_initial_network_one_is_drawn_and_the_report_says_so(data, trained):
    first, again = (memorization_report(trained, None, **data, sites=SITES, k=5, seed=3) for _ in range(2))
    assert any("drawn by reset_parameters" in sentence for sentence in first.warnings)
    assert first.table.equals(again.table)


def test_a_k_above_the_images_per_class_is_told(data, initial, trained):
    report = memorization_report(trained, initial, **data, sites=SITES, k=20)
    assert any("k=20 neighbors are more than the 6 training images per class" in w for w in report.warnings)


def test_labels_that_are_not_random_are_told(data, initial, trained):
    report = memorization_report(trained, initial, **data | {"labels": data["true_labels"]}, sites=SITES, k=5)
    assert any(
        sentence.startswith("100% of the memorized labels are the true ones") for sentence in report.warnings
    )


def with_last_weight(trained, value):
    model = copy.deepcopy(trained)
    nn.init.constant_(model[4].weight, value)
    nn.init.zeros_(model[4].bias)
    return model


def test_dead_features_are_told_with_their_site(data, initial, trained):
    report = memorization_report(with_last_weight(trained, 0.0), initial, **data, sites=SITES, k=5)
    assert any(
        sentence.startswith("site 'logits': 60 of 60 rows of the reference features are zero")
        for sentence in report.warnings
    )


def test_a_network_that_diverged_is_refused_with_the_site(data, initial, trained):
    with pytest.raises(ValueError, match="site 'logits': 60 of 60 rows of the reference features hold NaN"):
        memorization_report(with_last_weight(trained, torch.nan), initial, **data, sites=SITES, k=5)


def test_the_network_is_left_in_its_mode(trained, report):
    assert all(module.training for module in trained.modules())


class Sited(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.sites = {"embedding": "body.3", "logits": "body.4"}

    def forward(self, images):
        return self.body(images)


def test_a_network_that_names_its_sites_is_probed_there(data, trained):
    report = memorization_report(Sited(trained), Sited(network()), **data, k=5)
    assert report.table["site"].tolist() == ["embedding", "logits"]


def test_the_direct_children_are_the_sites_of_a_network_that_names_none(data, trained, initial):
    report = memorization_report(trained, initial, **data, embedding="3", k=5)
    assert report.table["site"].tolist() == ["0", "1", "2", "3", "4"]


def test_the_embedding_must_be_known(data, trained, initial):
    with pytest.raises(
        ValueError, match=r"which site is the embedding.*give embedding= one of 0, 1, 2, 3, 4"
    ):
        memorization_report(trained, initial, **data)


def test_an_unknown_site_is_answered_with_the_available_ones(data, trained, initial):
    with pytest.raises(KeyError, match="no site 'stage9'; available are 0, 1, 2, 3"):
        memorization_report(trained, initial, **data, sites=["stage9"])


@pytest.mark.parametrize("measure", ["bank", "batch", "fresh-view"])
def test_a_measure_that_cannot_be_taken_is_refused(data, trained, initial, measure):
    with pytest.raises(
        ValueError, match=f"measure must be clean-view, or fresh-view with a policy; got '{measure}'"
    ):
        memorization_report(trained, initial, **data, sites=SITES, measure=measure)


def wrong(data, name, change):
    return data | {name: change(data[name])}


BAD = [
    (
        "images",
        lambda x: (255 * x).to(torch.uint8),
        ValueError,
        r"training images: expected float images in \[0,1\]",
    ),
    (
        "test_images",
        lambda x: 255 * x,
        ValueError,
        r"test images: expected float images in \[0,1\]; got .* to 255",
    ),
    ("test_images", lambda x: x[..., :4], ValueError, "training and test images must have one shape"),
    ("labels", lambda y: y.float(), TypeError, "training labels must be class numbers of an integer type"),
    ("labels", lambda y: y + 5, ValueError, r"training label \d+ of row \d+ is outside 0\.\.9"),
    (
        "labels",
        lambda y: y[:-1],
        ValueError,
        r"training: one label per row .* 60 rows and labels of shape \(59,\)",
    ),
    ("true_labels", lambda y: y - 1, ValueError, r"true label -1 of row \d+ is outside 0\.\.C-1"),
    ("true_labels", lambda y: y.bool(), TypeError, "true labels must be class numbers"),
    ("test_labels", lambda y: y + 1, ValueError, r"test label 10 of row \d+ is outside 0\.\.9"),
    ("test_labels", lambda y: y[1:], ValueError, "test: one label per row is needed"),
]


@pytest.mark.parametrize(("name", "change", "error", "message"), BAD)
def test_bad_input_is_refused_with_its_reason(data, trained, initial, name, change, error, message):
    with pytest.raises(error, match=message):
        memorization_report(trained, initial, **wrong(data, name, change), sites=SITES, k=5)


def test_a_k_above_the_training_images_is_refused(data, trained, initial):
    with pytest.raises(ValueError, match=r"k must be in \[1, n_reference\]; got k=61, n_reference=60"):
        memorization_report(trained, initial, **data, sites=SITES, k=61)
