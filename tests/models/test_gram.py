import pytest
import torch

from memorization.draws import generator, normal_rows
from memorization.models.kernels import LinearInputs, add_gram, hidden_gram, mirror

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
