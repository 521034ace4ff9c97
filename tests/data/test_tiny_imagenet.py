import numpy as np
import pytest
import torch
from PIL import Image

from memorization.data import image_sets as tiny_imagenet
from memorization.data.image_sets import image_set, read_tiny_imagenet

WNIDS = ["n03000000", "n01000000", "n02000000"]  # in the file they are not in order
COLORS = {"n01000000": (250, 10, 10), "n02000000": (10, 250, 10), "n03000000": (10, 10, 250)}


def write(path, color, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((64, 64, 3), color, dtype=np.uint8)
    Image.fromarray(array).convert(mode).save(path, quality=95)


@pytest.fixture
def root(tmp_path):
    """Three classes of two training images and one validation image, in the published layout."""
    folder = tmp_path / "tiny-imagenet-200"
    folder.mkdir()
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    words = ["n00000001\tentity", "n01000000\tgoldfish, Carassius auratus", "n02000000\tsalamander"]
    (folder / "words.txt").write_text("\n".join(words) + "\n")
    for wnid, color in COLORS.items():
        for number in range(2):
            write(folder / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", color)
    lines = []
    for number, wnid in enumerate(reversed(COLORS)):
        write(folder / "val" / "images" / f"val_{number}.JPEG", COLORS[wnid])
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return tmp_path


def mean_colors(images) -> list[list[int]]:
    return images.pixels.float().mean((2, 3)).round().int().tolist()


def is_near(found, color) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(found, color, strict=True))  # JPEG colors are not exact


def test_the_training_half_is_sorted_by_wordnet_id(root):
    train = read_tiny_imagenet("train", root)
    assert train.pixels.shape == (6, 3, 64, 64)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert all(
        is_near(found, list(COLORS.values())[label])
        for found, label in zip(mean_colors(train), train.labels.tolist(), strict=True)
    )


def test_the_validation_half_is_the_test_half_with_labels_from_the_annotations(root):
    test = read_tiny_imagenet("test", root)
    assert test.labels.tolist() == [2, 1, 0]
    assert is_near(mean_colors(test)[0], COLORS["n03000000"])


def test_a_class_is_named_by_its_first_word_or_its_id(root):
    assert read_tiny_imagenet("test", root).class_names == ("goldfish", "salamander", "n03000000")


def test_a_gray_file_is_repeated_over_three_channels(root):
    path = root / "tiny-imagenet-200/train/n01000000/images/n01000000_0.JPEG"
    write(path, (90, 90, 90), "L")
    pixels = read_tiny_imagenet("train", root).pixels
    assert torch.equal(pixels[0, 0], pixels[0, 2])
    assert not torch.equal(pixels[1, 0], pixels[1, 2])


def test_the_image_set_has_both_halves_at_the_side_asked_for(root):
    both = image_set("tiny_imagenet", "all", root=root, side=32)
    assert both.images.shape == (9, 3, 32, 32)
    assert both.labels.tolist() == [0, 0, 1, 1, 2, 2, 2, 1, 0]


def test_decoded_images_are_kept_and_not_decoded_again(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = read_tiny_imagenet("train", root, cache=cache)
    monkeypatch.setattr(tiny_imagenet, "_decode", lambda paths: pytest.fail("decoded twice"))
    assert torch.equal(read_tiny_imagenet("train", root, cache=cache).pixels, first.pixels)
    assert [path.name for path in cache.iterdir()] == ["tiny_imagenet-train.pt"]


def test_the_kept_images_are_made_anew_when_the_files_change(root, tmp_path):
    cache = tmp_path / "cache"
    read_tiny_imagenet("test", root, cache=cache)
    changed = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(changed).save(root / "tiny-imagenet-200/val/images/val_0.JPEG")
    assert torch.equal(
        read_tiny_imagenet("test", root, cache=cache).pixels, read_tiny_imagenet("test", root).pixels
    )


def test_a_damaged_file_of_kept_images_is_told_and_made_anew(root, tmp_path):
    cache = tmp_path / "cache"
    expected = read_tiny_imagenet("test", root, cache=cache).pixels
    (cache / "tiny_imagenet-test.pt").write_bytes(b"cut off")
    with pytest.warns(UserWarning, match=r"tiny_imagenet-test\.pt cannot be read .* and is made anew"):
        assert torch.equal(read_tiny_imagenet("test", root, cache=cache).pixels, expected)
    assert torch.equal(read_tiny_imagenet("test", root, cache=cache).pixels, expected)


@pytest.mark.parametrize(
    "part",
    ["wnids.txt", "words.txt", "val/val_annotations.txt", "val/images/val_1.JPEG"],
)
def test_an_absent_part_is_named(root, part):
    (root / "tiny-imagenet-200" / part).unlink()
    with pytest.raises(FileNotFoundError, match=rf"tiny_imagenet was not found in .*no {part}.*Fetch http"):
        read_tiny_imagenet("test", root)


def test_an_absent_class_folder_is_named(root):
    (root / "tiny-imagenet-200/train/n02000000").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no train/n02000000/images\)"):
        read_tiny_imagenet("train", root)


def test_a_class_with_fewer_images_than_others_means_an_incomplete_archive(root):
    (root / "tiny-imagenet-200/train/n02000000/images/n02000000_1.JPEG").unlink()
    with pytest.raises(RuntimeError, match=r"class n02000000 has 1 images, others have 2\. Unpack http"):
        read_tiny_imagenet("train", root)


def test_folders_without_images_are_incomplete(root):
    for path in (root / "tiny-imagenet-200" / "train").rglob("*.JPEG"):
        path.unlink()
    with pytest.raises(RuntimeError, match="train is incomplete: class n01000000 has 0 images"):
        read_tiny_imagenet("train", root)


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_a_damaged_picture_is_named(root, content):
    path = root / "tiny-imagenet-200/val/images/val_2.JPEG"
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(RuntimeError, match=r"val_2\.JPEG is damaged: it cannot be decoded"):
        read_tiny_imagenet("test", root)


def test_a_picture_of_another_size_is_named(root):
    path = root / "tiny-imagenet-200/val/images/val_1.JPEG"
    Image.new("RGB", (32, 64)).save(path)
    with pytest.raises(RuntimeError, match=r"val_1\.JPEG has 64x32 pixels; the others have 64x64"):
        read_tiny_imagenet("test", root)


@pytest.mark.parametrize("line", ["val_9.JPEG\tn09999999\t0", "no tabs here"])
def test_an_annotation_without_a_known_class_is_named(root, line):
    path = root / "tiny-imagenet-200/val/val_annotations.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(
        RuntimeError, match=r"val_annotations\.txt is damaged: line 4 names no class of wnids"
    ):
        read_tiny_imagenet("test", root)
