import pytest
import torch

from memorization.data.synthetic import linear_core_task
from memorization.draws import generator
from memorization.models import kernels as gram
from memorization.models.activations import ACTIVATIONS, activation
from memorization.models.kernels import directions, explicit_features, gram_blocks, infinite_width_kernel

MAPS = ("rf", "ntk")


@pytest.fixture
def task():
    return linear_core_task(n_train=15, n_test=9, d=12, alpha=0.5, seed=0, dtype=torch.float64)


def blocks_of(task, **changes):
    chosen = {"feature_map": "rf", "activation_name": "phi2", "width": 50, "seed": 0} | changes
    return gram_blocks(task.train, task.spurious, task.test, **chosen)


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_blocks_equal_products_of_explicit_features(task, feature_map, name):
    width, d = 50, 12
    weights = directions(width, d, generator(0, "weights"))
    kwargs = {"feature_map": feature_map, "activation_name": name}
    plain = [explicit_features(rows, weights, **kwargs) for rows in (task.train, task.spurious, task.test)]
    scale = width if feature_map == "rf" else width * d
    found = blocks_of(task, width=width, **kwargs)
    for block, rows in zip((found.train, found.spurious, found.test), plain, strict=True):
        assert torch.allclose(block, rows @ plain[0].T / scale, atol=1e-12)
    assert found.parameters == plain[0].shape[1]


def test_tangent_features_are_the_gradient_of_a_two_layer_network(task):
    weights = directions(5, 12, generator(0, "weights")).requires_grad_()
    output = torch.tanh(task.train[:1] @ weights.T).sum()
    (gradient,) = torch.autograd.grad(output, weights)  # (k, d)
    found = explicit_features(task.train[:1], weights.detach(), feature_map="ntk", activation_name="tanh")
    assert torch.allclose(found.reshape(12, 5), gradient.T)


@pytest.mark.parametrize("feature_map", MAPS)
def test_the_result_does_not_depend_on_the_size_of_a_block(task, feature_map, monkeypatch):
    whole = blocks_of(task, feature_map=feature_map, width=70)
    monkeypatch.setattr(gram, "_BLOCK", 16)
    parts = blocks_of(task, feature_map=feature_map, width=70)
    assert torch.allclose(whole.test, parts.test, atol=1e-12)


def test_single_precision_features_agree_with_double_precision(task):
    single = gram_blocks(
        task.train.float(), task.spurious.float(), task.test.float(),
        feature_map="rf", activation_name="relu", width=3000, seed=0,
    )  # fmt: skip
    double = blocks_of(task, activation_name="relu", width=3000)
    assert single.train.dtype == torch.float64
    assert (single.train - double.train).abs().max() < 1e-6


def gaussian_pair_mean(function, q1, q2, c):
    """E[f(a) f(b)] for centered Gaussians with variances q1, q2 and covariance c, on a fine grid."""
    line = torch.linspace(-9, 9, 1501, dtype=torch.float64)
    weight = torch.exp(-0.5 * line**2)
    weight = weight / weight.sum()
    x, y = line[:, None], line[None, :]
    a = (q1**0.5 * x).expand(1501, 1501).clone()
    b = c / q1**0.5 * x + (q2 - c * c / q1) ** 0.5 * y
    return float((function(a) * function(b) * weight[:, None] * weight[None, :]).sum())


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("name", ["phi2", "phi4", "relu", "h2", "erf", "sine", "identity"])
def test_closed_kernels_are_the_gaussian_means_at_any_norm(feature_map, name):
    rows = torch.tensor([[1.7, 0.9], [0.4, 0.3]], dtype=torch.float64)
    found = infinite_width_kernel(rows, rows, feature_map=feature_map, activation_name=name)
    q1, q2, c = (float(rows[i] @ rows[j]) / 2 for i, j in ((0, 0), (1, 1), (0, 1)))
    mean = gaussian_pair_mean(activation(name, feature_map).apply_, q1, q2, c)
    assert float(found[0, 1]) == pytest.approx(mean * (c if feature_map == "ntk" else 1), abs=1e-3)


@pytest.mark.parametrize("feature_map", MAPS)
@pytest.mark.parametrize("name", ["tanh", "gelu", "softplus"])
def test_series_kernels_agree_with_very_wide_features_on_the_sphere(feature_map, name):
    task = linear_core_task(n_train=10, n_test=5, d=12, alpha=0.5, seed=0, law="spheres", dtype=torch.float64)
    kwargs = {"feature_map": feature_map, "activation_name": name}
    wide = gram_blocks(task.train, task.spurious, task.test, width=200_000, seed=1, **kwargs)
    exact = gram_blocks(task.train, task.spurious, task.test, width=None, seed=1, **kwargs)
    assert (wide.train - exact.train).abs().max() < 0.01
    assert (wide.test - exact.test).abs().max() < 0.01
    assert exact.parameters is None


def test_a_series_kernel_refuses_inputs_off_the_sphere(task):
    with pytest.raises(ValueError, match=r"kernel of 'tanh' is implemented for inputs with"):
        blocks_of(task, activation_name="tanh", width=0)


def test_a_black_image_has_a_zero_relu_kernel_and_no_nan():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    kernel = infinite_width_kernel(rows, rows, feature_map="rf", activation_name="relu")
    assert kernel[0].tolist() == [0, 0]
    assert kernel[1, 1] == pytest.approx(12.5 / 2)


def test_a_negative_width_is_refused(task):
    with pytest.raises(ValueError, match=r"width must be at least 1, or 0 for .*; got -3"):
        blocks_of(task, width=-3)


def test_byte_inputs_are_refused(task):
    with pytest.raises(TypeError, match=r"train has type torch.uint8; convert it to floating point"):
        gram_blocks(
            task.train.to(torch.uint8), task.spurious, task.test,
            feature_map="rf", activation_name="relu", width=50, seed=0,
        )  # fmt: skip
