"""Supervised networks of torchvision, from weight files that are here."""

import pytest
import torch
from made_imagenet import make_imagenet, write

from memorization.data.files import load_torchvision
from memorization.studies.feature_contamination.pretrained import standard_accuracies


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """A thousand folders, with pictures of three of them: torchvision's networks have 1000 outputs."""
    root = tmp_path_factory.mktemp("thousand")
    for number in range(1000):
        (root / f"imagenet/train/n{number:08d}").mkdir(parents=True)
    for number, name in [(0, "0"), (7, "0"), (500, "0"), (500, "1")]:
        write(root / f"imagenet/val/n{number:08d}/{name}.JPEG", (number % 256, 90, 20))
    for number in (7, 500):
        write(root / f"imagenet-r/n{number:08d}/0.jpg", (number % 256, 90, 20))
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Made weights of SqueezeNet that give class 500 whatever they see."""
    folder = tmp_path_factory.mktemp("cache")
    network = load_torchvision().models.get_model("squeezenet1_1", weights=None)
    with torch.no_grad():
        network.classifier[1].weight.zero_()
        network.classifier[1].bias.zero_()[500] = 1
    torch.save(network.state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    return folder


def test_a_network_whose_weights_are_here_is_tested_and_the_others_are_named(thousand, cache):
    with pytest.warns(UserWarning, match=r"1 of 2 standard models: resnet18-\w+\.pth; they have no rows"):
        rows = standard_accuracies(
            root=str(thousand),
            models=["resnet18", "squeezenet1_1"],
            cache=str(cache),
            shifts=["r"],
            workers=0,
        )
    assert rows == [
        {"model": "squeezenet1_1", "set": "val", "images": 4, "accuracy": 0.5},
        {"model": "squeezenet1_1", "set": "r", "images": 2, "accuracy": 0.5},
    ]


def test_with_fewer_classes_their_outputs_alone_compete(thousand, cache):
    rows = standard_accuracies(
        root=str(thousand),
        models=["squeezenet1_1"],
        cache=str(cache),
        classes=2,  # 0 and 500
        shifts=[],
        workers=0,
    )
    assert [(row["images"], row["accuracy"]) for row in rows] == [(3, pytest.approx(2 / 3))]


def test_without_any_weights_nothing_is_fetched_and_the_files_are_named(thousand, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"no weights in {tmp_path} for 1 of 1 .* alexnet-[\w-]+\.pth"
    ):
        standard_accuracies(root=str(thousand), models=["alexnet"], cache=str(tmp_path), shifts=[])


def test_another_number_of_classes_is_refused(tmp_path, cache):
    make_imagenet(tmp_path)
    with pytest.raises(ValueError, match="imagenet/train has 12 classes; torchvision's networks"):
        standard_accuracies(root=str(tmp_path), models=["squeezenet1_1"], cache=str(cache), shifts=[])


def test_an_unknown_model_is_refused_with_the_nearest(thousand, cache):
    with pytest.raises(ValueError, match=r"unknown standard model 'resnet_50'; .* did you mean 'resnet50'"):
        standard_accuracies(root=str(thousand), models=["resnet_50"], cache=str(cache), shifts=[])


def test_a_damaged_file_of_weights_is_named(thousand, tmp_path):
    (tmp_path / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"nothing")
    with pytest.raises(
        RuntimeError, match=r"squeezenet1_1-b8a52dc0.pth cannot be read as weights of squeeze"
    ):
        standard_accuracies(root=str(thousand), models=["squeezenet1_1"], cache=str(tmp_path), shifts=[])
