"""The report on a network of one's own: one that really memorizes random labels; notes; the verdict."""

import copy
import math

import pytest
import torch
from torch import nn

from memorization.data.augmentation.policies import augmentation
from memorization.data.image_sets import load_images
from memorization.data.labels import random_labels
from memorization.draws import generator
from memorization.measures.accuracy import calibrated
from memorization.studies.benign_memorization.own_network import memorization_report, notes, verdict

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
    ("images", lambda x: (255 * x).to(torch.uint8), TypeError, "training images are torch.uint8; allowed"),
    (
        "test_images",
        lambda x: 255 * x,
        ValueError,
        r"test images have values from 0 to 255; allowed: \[0, 1\]",
    ),
    ("images", lambda x: x.numpy(), ValueError, "training images: got ndarray; allowed: a tensor"),
    ("true_labels", lambda y: y.numpy(), TypeError, "true labels: got a ndarray; allowed: a tensor"),
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


def test_the_training_images_are_no_test_images(data, trained, initial):
    twice = data | {"test_images": data["images"].clone(), "test_labels": data["true_labels"]}
    with pytest.raises(
        ValueError, match="the test images are the training images; give images that were held"
    ):
        memorization_report(trained, initial, **twice, sites=SITES, k=5)


def test_a_k_above_the_training_images_is_refused(data, trained, initial):
    with pytest.raises(ValueError, match=r"k must be in \[1, n_reference\]; got k=61, n_reference=60"):
        memorization_report(trained, initial, **data, sites=SITES, k=61)


N = 40


@pytest.fixture(scope="module")
def noise():
    images = torch.rand(2 * N, 1, 8, 8, generator=generator(0, "images"))
    true = torch.arange(2 * N) % 4
    labels = torch.randint(4, (N,), generator=generator(0, "labels"))
    return {
        "images": images[:N],
        "labels": labels,
        "true_labels": true[:N],
        "test_images": images[N:],
        "test_labels": true[N:],
    }


class Net(nn.Module):
    """A network with children that are no sites: an unused one, a shared one, one that gives two tensors."""

    def __init__(self, seed):
        super().__init__()
        self.conv, self.relu, self.spare = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(3, 3)
        self.embedding, self.rows = nn.Linear(144, 8), nn.RNN(8, 8, batch_first=True)
        self.logits = nn.Linear(8, 4)
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, std=0.3, generator=generator(seed, number))

    def forward(self, x):
        x = self.relu(self.embedding(self.relu(self.conv(x)).flatten(1)))
        return self.logits(self.rows(x[:, None])[0][:, 0])


def reported(noise, model=None, **more):
    return memorization_report(model or Net(1), Net(0), **{**noise, "k": 3, **more})


def test_a_policy_may_be_given_by_its_name(noise):
    named, made = (reported(noise, policy=p) for p in ("small_digits", augmentation("small_digits")))
    assert named.accuracies == made.accuracies
    assert "fresh_view" in named.accuracies


def test_an_unknown_policy_offers_the_nearest(noise):
    with pytest.raises(ValueError, match="unknown augmentation 'small_digit'; did you mean 'small_digits'"):
        reported(noise, policy="small_digit")


def test_a_policy_that_is_no_function_is_refused(noise):
    with pytest.raises(
        TypeError, match=r"policy=3; allowed: a function policy\(images, generator, strength=...\)"
    ):
        reported(noise, policy=3)


def test_a_policy_that_returns_another_shape_is_named(noise):
    def cut(images, chance, strength):
        return images[..., :4]

    with pytest.raises(
        ValueError, match=r"the policy '.*cut' returned shape \(40, 1, 8, 4\) for images of shape"
    ):
        reported(noise, policy=cut)


def test_children_that_are_used_never_or_twice_are_no_sites_and_are_told(noise):
    found = reported(noise)
    assert found.table["site"].tolist() == ["conv", "embedding", "logits"]
    left_out = (
        "no sites are the direct children relu (used 2 times), spare (used 0 times), rows (gives no feature)"
    )
    assert f"{left_out}; name others as sites" in found.warnings


def test_a_network_without_a_child_to_probe_asks_for_sites(noise):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8)))

        def forward(self, x):
            return self.inner(self.inner(x)).flatten(1)

    with pytest.raises(
        ValueError, match="no direct child of the network is used once in a forward pass; give sites="
    ):
        reported(noise, Shared())


def test_test_classes_that_no_training_image_has_are_told_once(noise):
    true = noise["true_labels"].clone()
    true[true == 1] = 3
    told = [w for w in reported(noise, true_labels=true).warnings if "no reference row has" in w]
    assert told == [
        "10 of 40 queries have a class that no reference row has (1) and count as wrong; add reference "
        "rows of it, or take these queries out"
    ]


def test_outputs_that_are_not_finite_are_refused_though_no_site_shows_them(noise):
    class Diverged(Net):
        def forward(self, x):
            return super().forward(x) / 0

    with pytest.raises(ValueError, match="the network gives NaN or Inf for 40 of 40 images"):
        reported(noise, Diverged(1))


TELLING = "they tell the true classes"


def told(labels, true):
    return notes(labels, true, 1)


def true_labels(n, classes):
    return torch.arange(n) % classes


@pytest.mark.parametrize(("n", "classes"), [(60, 10), (400, 10), (1000, 2), (200, 100)])
def test_random_labels_are_taken_as_random(n, classes):
    true = true_labels(n, classes)
    silent = [told(random_labels(n, classes, generator(seed, "labels")), true) == [] for seed in range(100)]
    assert sum(silent) >= 99  # of one in ten thousand, one in 100 at the most


@pytest.mark.parametrize("change", [lambda y: y, lambda y: (y + 3) % 10, lambda y: y // 2])
def test_labels_that_name_the_true_classes_are_told_also_under_other_names(change):
    true = true_labels(60, 10)
    (sentence,) = told(change(true), true)
    assert (
        f"{float((change(true) == true).double().mean()):.0%} of the memorized labels are the true ones"
        in sentence
    )
    assert TELLING in sentence


def test_partly_random_labels_are_told():
    true = true_labels(400, 10)
    (sentence,) = told(random_labels(400, 10, generator(0, "labels"), noise=0.5, true=true), true)
    assert sentence.startswith("5")
    assert TELLING in sentence


def test_one_label_for_all_is_nothing_to_memorize():
    true = true_labels(60, 10)
    assert told(torch.full_like(true, 3), true) == [
        "all memorized labels are one class: there was nothing to memorize, and every probe finds it"
    ]


def test_one_true_class_is_found_by_every_probe():
    labels = random_labels(60, 10, generator(0, "labels"))
    (sentence,) = told(labels, torch.zeros_like(labels))
    assert sentence.startswith("all true labels are one class")


def test_a_probe_clearly_above_initialization_is_benign():
    assert verdict(0.998, 0.925, 0.837, 1397).kind == "benign"


def test_a_probe_clearly_below_initialization_is_malign():
    assert verdict(1.0, 0.799, 0.837, 1397).kind == "malign"


def test_a_difference_inside_the_noise_is_malign():
    judged = verdict(1.0, 0.91, 0.90, 1000)
    assert judged.interval[0] < 0 < judged.difference
    assert judged.kind == "malign"


def test_the_tolerance_is_two_deviations_of_the_probe_nearer_to_one_half():
    low, high = verdict(1.0, 0.95, 0.9, 1397).interval
    tolerance = 2 * (0.9 * 0.1 / 1397) ** 0.5
    assert (low, high) == pytest.approx((0.05 - tolerance, 0.05 + tolerance))


@pytest.mark.parametrize(
    ("measure", "memorization", "kind"),
    [
        ("clean-view", 0.949, "not memorized"),
        ("clean-view", 0.95, "benign"),
        ("fresh-view", 0.899, "not memorized"),
        ("fresh-view", 0.9, "benign"),
        ("bank", 0.949, "not memorized"),
        ("bank", 0.95, "benign"),
    ],
)
def test_each_measure_has_its_threshold_and_below_it_nothing_is_benign(measure, memorization, kind):
    assert verdict(memorization, 0.99, 0.5, 1000, measure).kind == kind


def test_the_sentence_holds_all_inputs():
    judged = verdict(0.998, 0.925, 0.837, 1397, others={"fresh_view": 0.921})
    assert str(judged) == (
        "benign: clean-view memorization 0.998 (threshold 0.95, fresh_view 0.921), probe 0.925 against 0.837 "
        "at initialization, difference +0.088 in [+0.068, +0.108] (1397 test images)."
    )


def test_an_unknown_measure_is_answered_with_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown measure 'batch'; choose one of clean-view, fresh-view, bank"
    ):
        verdict(1.0, 0.9, 0.8, 100, "batch")


@pytest.mark.parametrize("name", ["memorization", "probe", "probe_init"])
@pytest.mark.parametrize("value", [-0.1, 92.5, float("nan")])
def test_what_is_no_fraction_is_refused(name, value):
    given = {"memorization": 1.0, "probe": 0.9, "probe_init": 0.8} | {name: value}
    with pytest.raises(ValueError, match=rf"{name} must be a fraction in \[0, 1\]; got {value}"):
        verdict(n_test=100, **given)


@pytest.mark.parametrize("n_test", [0, 1.5])
def test_a_verdict_needs_test_images(n_test):
    with pytest.raises(ValueError, match=f"n_test={n_test}; allowed: a whole number, 1 or more"):
        verdict(1.0, 0.9, 0.8, n_test)
