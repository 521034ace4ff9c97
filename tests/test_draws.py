import pytest
import torch
from scipy import stats

from memorization.draws import Draws, generator, view_keys, view_labels, view_number

N = 100_000


def keyed(n=N, seed=0, view=0):
    return Draws.keyed(view_keys(seed, torch.arange(n), view))


def makers(n):
    return [keyed(n), Draws.keyed(torch.arange(n)), Draws.of(generator(0, "x"), n)]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_uniform_numbers_are_uniform(which):
    values = makers(N)[which].uniform(3)
    assert values.dtype == torch.float32
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    for column in values.double().T:
        assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("which", [0, 1, 2])
def test_whole_numbers_are_uniform(which):
    counts = torch.bincount(makers(N)[which].integers(10, 2).flatten(), minlength=10)
    assert len(counts) == 10
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("columns", [1, 5])
def test_normal_numbers_are_normal(which, columns):
    values = makers(N)[which].normal(columns)
    assert values.shape == (N, columns)
    for column in values.double().T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3


def test_normal_numbers_of_a_view_are_independent_of_each_other():
    values = keyed().normal(8).double()
    for moment in (values, values**2):
        off = torch.corrcoef(moment.T) - torch.eye(8)
        assert off.abs().max() < 4.5 / N**0.5


def test_the_upper_bound_of_whole_numbers_can_differ_between_views():
    high = torch.tensor([[1], [2], [1000]]).repeat(1000, 1)
    for draws in makers(3000):
        values = draws.integers(high, 4)
        assert (values < high).all()
        assert values[1::3].unique().tolist() == [0, 1]
        assert values[2::3].max() > 950


@pytest.mark.parametrize("which", [0, 1])
def test_columns_and_neighboring_keys_are_uncorrelated(which):
    draws = makers(N)[which]
    values = torch.cat([draws.uniform(4), draws.uniform(4)], dim=1).double()
    next_row = torch.cat([values[:-1], values[1:]], dim=1)
    off = torch.corrcoef(next_row.T) - torch.eye(16)
    assert off.abs().max() < 4.5 / N**0.5


def test_every_bit_of_a_key_changes_half_of_the_bits_of_a_number():
    keys = view_keys(1, torch.arange(2000), 0)
    words = (Draws.keyed(keys).uniform(1) * 2**24).long()
    for bit in range(64):
        other = (Draws.keyed(keys ^ (1 << bit if bit < 63 else -(2**63))).uniform(1) * 2**24).long()
        changed = ((words ^ other) >> torch.arange(24)) & 1  # (2000, 24)
        assert (changed.double().mean(dim=0) - 0.5).abs().max() < 0.06


def test_views_examples_and_seeds_are_uncorrelated():
    first = keyed().uniform(1)
    others = [keyed(view=1), keyed(seed=1), Draws.keyed(view_keys(0, torch.arange(N) + N, 0))]
    rows = torch.cat([first, *(draws.uniform(1) for draws in others)], dim=1).double()
    assert (torch.corrcoef(rows.T) - torch.eye(4)).abs().max() < 4.5 / N**0.5


def test_a_view_is_a_function_of_its_key_alone():
    keys = view_keys(0, torch.arange(301), 4)
    order = torch.randperm(301, generator=generator(0, "x"))[:57]
    every, some, one = Draws.keyed(keys), Draws.keyed(keys[order]), Draws.keyed(keys[7:8])
    for name, *given in (("uniform", 7), ("normal", 65), ("integers", 9, 3), ("uniform", 1)):
        full, part, single = (getattr(draws, name)(*given) for draws in (every, some, one))
        assert torch.equal(full[order], part)
        assert torch.equal(full[7:8], single)


def test_calls_follow_each_other():
    draws, again = keyed(50), keyed(50)
    both = torch.cat([draws.uniform(2), draws.uniform(3)], dim=1)
    assert torch.equal(both, again.uniform(5))
    stream = Draws.of(generator(0, "x"), 50)
    assert not torch.equal(stream.uniform(2), stream.uniform(2))


def test_known_numbers_stay_the_same_for_ever():
    draws = Draws.keyed(view_keys(3, torch.arange(2), torch.tensor([0, 5])))
    assert (draws.uniform(2) * 2**24).long().tolist() == [[270038, 10194251], [12858261, 12575003]]
    assert draws.integers(1000, 2).tolist() == [[525, 441], [775, 137]]


def test_no_two_views_share_a_key():
    keys = view_keys(5, torch.arange(2000).unsqueeze(1), torch.arange(500))
    assert keys.shape == (2000, 500)
    assert (keys >= 0).all()
    assert len(keys.unique()) == keys.numel()


def test_a_seed_may_be_a_number_or_one_number_per_model():
    seeds = torch.tensor([[0], [7], [2**40 + 1]])
    keys = view_keys(seeds, torch.arange(5), 2)
    for row, seed in zip(keys, seeds.flatten().tolist(), strict=True):
        assert torch.equal(row, view_keys(seed, torch.arange(5), 2))
    assert len(keys.unique()) == 15


def test_a_bank_shows_its_views_equally_often_and_independently_at_each_visit():
    visits = torch.stack([view_number(visit, torch.arange(2000), 8, 0) for visit in range(50)])
    assert stats.chisquare(torch.bincount(visits.flatten(), minlength=8).numpy()).pvalue > 1e-3
    pairs = torch.bincount((visits[:-1] * 8 + visits[1:]).flatten(), minlength=64)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3


def test_without_a_bank_each_visit_shows_a_view_of_its_own():
    assert view_number(31, torch.arange(4), 0, 0).tolist() == [31] * 4
    assert view_number(3, torch.arange(4), 1, 0).tolist() == [0] * 4


def test_stacked_models_can_have_banks_of_their_own():
    banks, examples, visits = torch.tensor([[0], [1], [16]]), torch.arange(40), torch.arange(40) // 3
    shown = view_number(visits, examples, banks, 9)
    for row, bank in zip(shown, banks.flatten().tolist(), strict=True):
        assert torch.equal(row, view_number(visits, examples, bank, 9))


def test_labels_of_views_are_uniform_and_differ_between_views_of_an_image():
    labels = view_labels(0, torch.arange(5000).unsqueeze(1), torch.arange(16), 10)
    assert stats.chisquare(torch.bincount(labels.flatten(), minlength=10).numpy()).pvalue > 1e-3
    pairs = torch.bincount((labels[:, :-1] * 10 + labels[:, 1:]).flatten(), minlength=100)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3


def test_labels_do_not_depend_on_the_numbers_that_make_the_view():
    examples = torch.arange(N)
    labels = view_labels(0, examples, 3, 10).double()
    shown = view_number(3, examples, 10, 0).double()
    numbers = Draws.keyed(view_keys(0, examples, 3)).uniform(4).double()
    rows = torch.cat([labels.unsqueeze(1), shown.unsqueeze(1), numbers], dim=1)
    assert (torch.corrcoef(rows.T) - torch.eye(6)).abs().max() < 4.5 / N**0.5


def test_keys_that_are_no_keys_are_refused():
    with pytest.raises(TypeError, match=r"torch.float32 of shape \(3,\); allowed: int64 of shape \(B,\)"):
        Draws.keyed(torch.zeros(3))
    with pytest.raises(TypeError, match=r"one key per view; make them with view_keys"):
        Draws.keyed(torch.zeros(3, 1, dtype=torch.int64))


def test_a_negative_bank_and_zero_classes_are_refused():
    with pytest.raises(ValueError, match=r"bank=-1 fixed views; allowed: K >= 1 views, or 0"):
        view_number(0, torch.arange(2), -1, 0)
    with pytest.raises(ValueError, match=r"classes=0; at least 1 class"):
        view_labels(0, torch.arange(2), 0, 0)
