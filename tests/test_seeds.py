import pytest
import torch

from memorization.draws import generator, normal_rows


def test_one_seed_and_purpose_always_give_the_same_numbers():
    assert torch.equal(
        torch.rand(5, generator=generator(3, "weights")), torch.rand(5, generator=generator(3, "weights"))
    )


@pytest.mark.parametrize("other", [(4, "weights"), (3, "data"), (3, "weights", 1)])
def test_another_seed_or_purpose_gives_other_numbers(other):
    mine = torch.rand(5, generator=generator(3, "weights"))
    assert not torch.equal(mine, torch.rand(5, generator=generator(*other)))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    normal_rows(5, 3, generator(0, "x"), torch.float32)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed must be a whole number >= 0; got"):
        generator(seed, "x")


@pytest.mark.parametrize("columns", [1, 3, 7, 64])
def test_a_longer_draw_begins_with_the_shorter_one(columns):
    long = normal_rows(101, columns, generator(0, "x"), torch.float32)
    for rows in (1, 15, 16, 40):
        assert torch.equal(long[:rows], normal_rows(rows, columns, generator(0, "x"), torch.float32))


def test_blocks_of_sixteen_rows_continue_one_draw():
    source = generator(0, "x")
    parts = torch.cat([normal_rows(16, 7, source, torch.float32), normal_rows(32, 7, source, torch.float32)])
    assert torch.equal(parts, normal_rows(48, 7, generator(0, "x"), torch.float32))


def test_both_precisions_draw_the_same_numbers():
    single, double = (normal_rows(9, 4, generator(0, "x"), t) for t in (torch.float32, torch.float64))
    assert torch.equal(single.double(), double)
