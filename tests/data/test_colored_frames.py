import pytest
import torch
from scipy import stats
from torch.nn.functional import pad as padded_by

from memorization.data.frames import FRAME_COLORS, ColoredFrames, framed_test
from memorization.draws import Draws, generator, view_keys

RED = torch.tensor(FRAME_COLORS["red"])


def images(n=6, side=8):
    return torch.rand(n, 3, side, side, generator=generator(0, "images"))


def views(policy, given, name="views", **more):
    return policy(given, generator(0, name), **more)


def framed_by_hand(image, color, pad):
    """One image in its frame, channel by channel."""
    return torch.stack([padded_by(c, (pad,) * 4, value=float(v)) for c, v in zip(image, color, strict=True)])


def place_of(view, whole):
    """Where a view lies in a padded image: (top, left, flipped); None if it lies nowhere."""
    side, free = view.shape[-1], whole.shape[-1] - view.shape[-1]
    for top in range(free + 1):
        for left in range(free + 1):
            window = whole[:, top : top + side, left : left + side]
            for flipped in (False, True):
                if torch.equal(window.flip(2) if flipped else window, view):
                    return top, left, flipped
    return None


def test_every_view_is_a_window_of_the_padded_image():
    given = images(40)
    for image, view in zip(given, views(ColoredFrames(pad=3), given), strict=True):
        assert place_of(view, framed_by_hand(image, RED, 3)) is not None


def test_windows_are_uniform_on_all_places_and_flips():
    policy, image = ColoredFrames(pad=2), images(1, 4)
    whole = framed_by_hand(image[0], RED, 2)
    many = views(policy, image.expand(5000, -1, -1, -1))
    kinds, counts = many.unique(dim=0, return_counts=True)
    assert len({place_of(view, whole) for view in kinds}) == 50
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_a_view_of_the_raw_kind_is_cut_from_its_own_reflection():
    given = images(40)
    places = []
    for image, view in zip(given, views(ColoredFrames("raw"), given), strict=True):
        places.append(place_of(view, padded_by(image[None], (1,) * 4, mode="reflect")[0]))
    assert None not in places
    assert len(set(places)) > 6


def test_a_frame_of_the_random_kind_has_a_color_of_its_own_in_each_view():
    black = torch.zeros(4000, 3, 4, 4)
    frames = views(ColoredFrames("random", pad=4), black).flatten(2)
    colors = frames.max(2).values
    colors = colors[colors.sum(1) > 0]  # the window in the center shows no frame
    assert len(colors) > 3900
    for channel in colors.T:
        assert stats.kstest(channel.numpy(), "uniform").pvalue > 1e-3
    assert torch.corrcoef(colors.T)[0, 1].abs() < 0.06


def test_a_view_with_a_key_is_a_function_of_its_key():
    given = images(5)
    keys = view_keys(3, torch.arange(5), 2)
    for kind in ("padded", "raw", "random"):
        policy = ColoredFrames(kind)
        together = policy(given, Draws.keyed(keys), strength=torch.ones(5))
        alone = policy(given[[3]], Draws.keyed(keys[[3]]), strength=torch.ones(1))
        assert torch.equal(together[3], alone[0])


@pytest.mark.parametrize("kind", ["padded", "raw", "random"])
def test_strength_0_changes_nothing(kind):
    given = images()
    assert torch.equal(views(ColoredFrames(kind), given, strength=0.0), given)


def test_each_view_can_have_its_own_strength():
    given = images(30)
    strength = torch.tensor([0.0, 1.0]).repeat(15)
    seen = views(ColoredFrames(pad=3), given, strength=strength)
    assert torch.equal(seen[::2], given[::2])
    assert torch.equal(seen[1::2], views(ColoredFrames(pad=3), given)[1::2])


def test_half_strength_shifts_half_as_far():
    whole = framed_by_hand(images(1)[0], RED, 4)
    seen = views(ColoredFrames(pad=4, flip=0.0), images(1).expand(200, -1, -1, -1), strength=0.5)
    tops = {place_of(view, whole)[0] for view in seen.unique(dim=0)}
    assert tops == {2, 3, 4, 5, 6}


def test_test_images_show_the_same_windows_in_frames_of_all_colors():
    given = images(50) * 0.1 + 0.7  # brighter than every frame
    seen = [framed_test(given, color, 3, generator(5, "frames")) for color in FRAME_COLORS.values()]
    inside = [(view.amin(1) > 0.6) for view in seen]
    assert torch.equal(inside[0], inside[1])
    assert 0.3 < inside[0].double().mean() < 0.95
    for view, color in zip(seen, FRAME_COLORS.values(), strict=True):
        frame = view.permute(0, 2, 3, 1)[~inside[0]]
        torch.testing.assert_close(frame, torch.tensor(color).expand_as(frame))


def test_test_images_are_not_flipped():
    image = images(1)
    seen = framed_test(image.expand(60, -1, -1, -1), FRAME_COLORS["red"], 2, generator(0, "frames"))
    whole = framed_by_hand(image[0], RED, 2)
    assert not any(place_of(view, whole)[2] for view in seen)


def test_the_images_stay_as_they_are_and_half_precision_stays_half():
    given = images().to(torch.bfloat16)
    before = given.clone()
    assert views(ColoredFrames(), given).dtype == torch.bfloat16
    assert torch.equal(given, before)


def test_policies_have_names_of_their_own():
    assert len({ColoredFrames(kind, pad).name for kind in ("padded", "raw") for pad in (1, 2)}) == 4


def test_an_unknown_frame_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown frame 'pad'; did you mean 'padded'.*padded, raw, random"):
        ColoredFrames("pad")


@pytest.mark.parametrize("pad", [0, -2, 1.5, True])
def test_a_frame_of_no_width_is_refused(pad):
    with pytest.raises(ValueError, match="the frame must be at least 1 pixel wide, in whole pixels"):
        ColoredFrames(pad=pad)


@pytest.mark.parametrize("color", [(150, 50, 50), (0.1, 0.2), (-0.1, 0.5, 0.5)])
def test_a_color_outside_0_to_1_is_refused(color):
    with pytest.raises(ValueError, match=r"allowed: red, green and blue in \[0, 1\] \(divide levels"):
        framed_test(images(), color, 2, generator(0, "frames"))


def test_a_flip_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"flip=2 is a probability; allowed: 0\.\.1"):
        ColoredFrames(flip=2)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 8, 9), (3, 8, 8)])
def test_images_that_are_not_square_and_colored_are_refused(shape):
    with pytest.raises(ValueError, match=r"allowed: a tensor of shape \(N, c, side, side\), c 3"):
        views(ColoredFrames(), torch.zeros(shape))


def test_a_strength_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"strength=1\.5 is out of range; allowed: numbers in \[0, 1\]"):
        views(ColoredFrames(), images(), strength=1.5)
