import pytest
import torch

from memorization.data.synthetic import linear_core_task
from memorization.draws import generator, normal_rows
from memorization.models import kernels
from memorization.models.activations import ACTIVATIONS, activation
from memorization.models.kernels import (
    LinearInputs,
    add_gram,
    directions,
    explicit_features,
    gram_blocks,
    hidden_gram,
    infinite_width_kernel,
    mirror,
)

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
    monkeypatch.setattr(kernels, "_BLOCK", 16)
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
    wide = gram_blocks(task.train, task.spurious, task.test, width=100_000, seed=1, **kwargs)
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


N, D, T, B = 7, 6, 5, 32


def rows(n, purpose):
    return normal_rows(n, D, generator(0, purpose), torch.float64)


def query(shared, constant=False):
    """Queries that share some columns with the training rows."""
    other = rows(N, "query")[:1].expand(N, D) if constant else rows(N, "query")
    return torch.where(torch.tensor(shared), rows(N, "train"), other)


QUERIES = {
    "sorted": query([False, False, False, True, True, True]),
    "interleaved": query([True, False, True, False, False, True]),
    "nothing shared": query([False] * D),
    "everything shared": query([True] * D),
    "constant core": query([True, False, True, False, False, True], constant=True),
}


@pytest.mark.parametrize("name", QUERIES)
def test_shared_parts_do_not_change_the_products(name):
    train, test = rows(N, "train"), rows(T, "test")
    directions = rows(B, "directions")
    out = LinearInputs(train, QUERIES[name], test).times(
        directions, torch.empty(2 * N + T, B, dtype=torch.float64)
    )
    plain = torch.cat([train, QUERIES[name], test]) @ directions.T / D**0.5
    assert torch.allclose(out, plain, atol=1e-12)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 600])
def test_column_blocks_and_mirroring_give_the_whole_product(n):
    hidden = normal_rows(n + 20, 8, generator(0, "hidden"), torch.float64)
    total = torch.zeros(n + 20, n, dtype=torch.float64)
    add_gram(total, hidden, torch.empty((n + 20) * n, dtype=torch.float64))
    mirror(total)
    assert torch.allclose(total, hidden @ hidden[:n].T, atol=1e-12)


def test_the_kernel_is_symmetric_to_the_last_bit():
    train = rows(N, "train").float()
    kernel = hidden_gram(LinearInputs(train, train, train), 100, generator(0, "w"), torch.tanh_)
    assert torch.equal(kernel[:N], kernel[:N].T)


def test_kernels_are_accumulated_in_double_precision():
    train = rows(N, "train").float()
    assert (
        hidden_gram(LinearInputs(train, train, train), 10, generator(0, "w"), torch.tanh_).dtype
        == torch.float64
    )


@pytest.mark.parametrize("feature_map", ["rf", "ntk"])
def test_blocks_of_rows_change_nothing(monkeypatch, feature_map):
    rows = torch.randn(23, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {"feature_map": feature_map, "activation_name": "relu"}
    whole = infinite_width_kernel(rows, rows[:7], **options)
    monkeypatch.setattr(kernels, "_KERNEL_ROWS", 5)
    assert torch.allclose(infinite_width_kernel(rows, rows[:7], **options), whole, rtol=1e-14)


def test_bytes_are_refused_by_every_kernel():
    images, floats = torch.zeros(4, 6, dtype=torch.uint8), torch.ones(4, 6)
    options = {"feature_map": "rf", "activation_name": "relu"}
    message = "has type torch.uint8; convert it to floating point first"
    for rows, columns in ((images, floats), (floats, images)):
        with pytest.raises(TypeError, match=message):
            infinite_width_kernel(rows, columns, **options)
    with pytest.raises(TypeError, match=message):
        explicit_features(images, floats, **options)
    with pytest.raises(TypeError, match=message):
        gram_blocks(floats, floats, images, width=8, seed=0, **options)


def test_inputs_of_two_widths_have_no_kernel():
    with pytest.raises(ValueError, match="rows have 6 coordinates, columns 5"):
        infinite_width_kernel(torch.ones(2, 6), torch.ones(2, 5), feature_map="rf", activation_name="relu")
