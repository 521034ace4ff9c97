"""The networks that heads read: sites, first weights, and what is refused."""

import pytest
import torch

from memorization.draws import generator
from memorization.models.stacked import has_batched_form
from memorization.studies.random_label_heads.networks import make_network, sites_of

IMAGES = torch.rand(40, 1, 8, 8, generator=generator(0, "images")) / 2


def perceptron(seed=0, **more):
    return make_network("mlp", IMAGES, (64, 64, 24), 10, seed=seed, **more)


def cnn(seed=0, widths=(32, 32, 32)):
    return make_network("small_cnn", IMAGES, widths, 10, seed=seed)


def test_a_perceptron_has_the_pixels_and_every_hidden_layer_as_sites():
    network = perceptron()
    assert sites_of(network, "all") == {"pixels": 0, "layer1": 1, "layer2": 2, "embedding": 3}
    assert sites_of(network, "hidden") == {"layer1": 1, "layer2": 2, "embedding": 3}
    assert sites_of(network, "last") == {"embedding": 3}
    assert network(IMAGES).shape == (40, 10)


def test_a_convolutional_network_has_a_site_after_each_convolution():
    network = cnn()
    assert sites_of(network, "hidden") == {"conv1": 1, "conv2": 2, "embedding": 3}
    assert network.encoder.conv1(network.encoder.pixels(IMAGES)).shape == (40, 32, 8, 8)
    assert network.encoder[:-1](IMAGES).shape == (40, 32, 2, 2)
    with pytest.raises(ValueError, match=r"sites='all' has heads on the pixels.*allowed: 'last' or"):
        sites_of(network, "all")


@pytest.mark.parametrize("network", [perceptron(), perceptron(dropout=0.2), cnn()])
def test_many_of_them_are_trained_as_one(network):
    assert has_batched_form(network)


@pytest.mark.parametrize("make", [perceptron, cnn])
def test_first_weights_are_normal_by_fan_in_and_biases_zero(make):
    network = make()
    for name, value in network.named_parameters():
        if value.ndim > 1:
            gain = 1 if "logits" in name else 2
            assert float(value.detach().std()) == pytest.approx((gain / value[0].numel()) ** 0.5, rel=0.15), (
                name
            )
        elif name.endswith("bias"):
            assert not value.any()


def test_seeds_decide_the_weights_and_dropout_does_not():
    one, same, other = perceptron(3), perceptron(3, dropout=0.5), perceptron(4)
    weights = [network.encoder.layer1[1].weight for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_pixels_are_standardized_by_the_training_images():
    seen = perceptron().encoder.pixels(IMAGES)
    assert seen.shape == (40, 64)
    assert float(seen.mean()) == pytest.approx(0, abs=1e-5)
    assert float(seen.square().mean()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_network("mpl", IMAGES, (4,), 10, seed=0), "unknown network 'mpl'; did you mean 'mlp'"),
        (lambda: perceptron(dropout=1.0), r"dropout=1.0; allowed: a number in \[0, 1\)"),
        (
            lambda: make_network("small_cnn", IMAGES, (4, 4), 10, dropout=0.1, seed=0),
            "dropout=0.1 with network='small_cnn'; allowed: 0",
        ),
        (lambda: cnn(widths=(4,) * 5), "5 convolutions with 2x2 max-pooling between need images of side 16"),
        (lambda: sites_of(cnn(), "first"), "unknown sites 'first'; choose one of last, hidden, all"),
    ],
)
def test_what_makes_no_network_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
