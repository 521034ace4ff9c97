"""Photographs and text: features, and the published configuration on small made data."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from memorization.data.groups import GroupedSet, GroupedSplits
from memorization.draws import generator
from memorization.studies.pitfalls_of_memorization import photographs
from memorization.studies.pitfalls_of_memorization.photographs import (
    Photographs,
    Texts,
    benchmark_draw,
    benchmark_methods,
    bird_features,
    bird_heads,
    frozen_features,
)

REAL = Path(os.environ.get("MEMORIZATION_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
SMALL = {"network": "resnet18", "weights": "none", "size": 32, "verify": False, "steps": 4, "twin_steps": 4}
COUNTS = ((16, 3, 3, 16), (4, 2, 2, 4), (4, 4, 4, 4))  # groups (y, a) of training, validation, test


def rows():
    return [
        (split, y, a)
        for split, counts in enumerate(COUNTS)
        for (y, a), count in zip([(0, 0), (0, 1), (1, 0), (1, 1)], counts, strict=True)
        for _ in range(count)
    ]


def picture(path, y, a, number, size=(40, 40)):
    """A background of one of two colors with noise, and a brighter or darker middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = np.random.default_rng(number)
    array = source.integers(0, 60, (*size, 3), dtype=np.uint8)
    array[..., 2 * a] += 120
    array[12:28, 12:28, 1] = 220 if y else 30
    Image.fromarray(array).save(path, format="PNG")


@pytest.fixture
def birds(tmp_path):
    folder = tmp_path / "waterbirds/waterbird_complete95_forest2water2"
    table = pd.DataFrame(rows(), columns=["split", "y", "place"])
    table["img_filename"] = [f"001.Bird/{number}.jpg" for number in range(len(table))]
    table["img_id"] = range(1, len(table) + 1)
    for number, row in table.iterrows():
        picture(folder / row.img_filename, row.y, row.place, number)
    table.to_csv(folder / "metadata.csv", index=False)
    return tmp_path


@pytest.fixture
def celebrities(tmp_path):
    folder = tmp_path / "celeba"
    lines, parts = [str(len(rows())), "Blond_Hair Male"], []
    for number, (split, y, a) in enumerate(rows()):
        name = f"{number + 1:06}.jpg"
        picture(folder / "img_align_celeba" / name, y, a, number, (218, 178))
        lines.append(f"{name} {2 * y - 1} {2 * a - 1}")
        parts.append(f"{name} {split}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return tmp_path


@pytest.mark.filterwarnings("ignore:Cross-Risk Minimization is degenerate")
@pytest.mark.parametrize("dataset", ["waterbirds", "celeba"])
def test_a_benchmark_is_trained_in_its_published_layout(dataset, request):
    root = request.getfixturevalue({"waterbirds": "birds", "celeba": "celebrities"}[dataset])
    options = SMALL | {"methods": ["erm", "group_dro", "mat"], "evaluate_every": 2}
    found = benchmark_methods(
        dataset=dataset, draw=2, data_root=str(root), cache=str(root / "cache"), seed=3, **options
    )
    assert [row["method"] for row in found] == ["erm", "group_dro", "mat"]
    for row in found:
        assert (row["batch"], row["temperature"]) == (33, 0.001)
        assert 0 <= row["test_worst"] <= row["test_average"] <= 1
        assert sum(name.startswith("test_group_") for name in row) == 4
    again = benchmark_methods(
        dataset=dataset, draw=2, data_root=str(root), cache=str(root / "cache"), seed=3, **options
    )
    assert str(again) == str(found)


def test_frozen_features_are_the_networks_before_its_head(birds):
    from memorization.data.group_benchmarks import read_benchmark

    splits = read_benchmark("waterbirds", birds, size=32, verify=False)
    network = Photographs("resnet18", 2, "none")
    seen = frozen_features(network, splits)
    with torch.no_grad():
        head = network.network.fc
        network.network.fc = nn.Identity()
        mine = network.eval()(splits.test.inputs)
        network.network.fc = head
    assert torch.allclose(seen.test.inputs, mine, atol=1e-5)
    assert torch.equal(seen.test.ids, splits.test.ids)
    assert seen.train.inputs.shape == (38, 512)


def test_heads_begin_at_zero():
    network = Photographs("resnet18", 2, "none").eval()
    assert (network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)) == 0).all()


def test_an_unknown_network_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown network 'resnet5'; did you mean"):
        Photographs("resnet5", 2, "none")


def test_text_networks_take_ids_mask_and_segments(monkeypatch):
    class Tiny(nn.Module):
        def __init__(self, labels):
            super().__init__()
            self.table = nn.Embedding(50, labels)

        def forward(self, input_ids, attention_mask, token_type_ids):
            weights = attention_mask[..., None] * (1 + token_type_ids[..., None])
            return SimpleNamespace(logits=(self.table(input_ids) * weights).sum(1))

    stand_in = ModuleType("transformers")
    stand_in.AutoModelForSequenceClassification = SimpleNamespace(
        from_pretrained=lambda name, num_labels: Tiny(num_labels)
    )
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    network = Texts("bert-base-uncased", 3)
    tokens = torch.tensor([[[4, 9, 0], [1, 1, 0], [0, 1, 0]]])
    wanted = network.network.table.weight[4] + 2 * network.network.table.weight[9]
    assert torch.allclose(network(tokens)[0], wanted)


def test_text_without_transformers_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="text needs transformers; install it with"):
        Texts("bert-base-uncased", 2)


def test_draws_are_those_of_the_reference_code():
    image = [benchmark_draw("waterbirds", number) for number in range(10)]
    assert [row["batch"] for row in image] == [86, 86, 33, 85, 68, 106, 50, 94, 122, 64]
    assert [float(f"{row['rate']:.3g}") for row in image[:4]] == [1.25e-4, 6.82e-5, 7.45e-5, 1.26e-4]
    assert [float(f"{row['weight_decay']:.3g}") for row in image[:3]] == [6.43e-5, 1.00e-6, 4.46e-5]
    assert [row["temperature"] for row in image] == [
        0.001,
        0.01,
        0.001,
        0.1,
        0.1,
        0.1,
        0.1,
        0.001,
        0.001,
        0.1,
    ]
    text = [benchmark_draw("multinli", number)["batch"] for number in range(10)]
    assert text == [43, 43, 16, 42, 34, 53, 25, 47, 61, 32]


def made_birds(root=None):
    """Photographs at 64x64 that are quick to describe."""
    parts, first = [], 0
    for counts in COUNTS:
        groups = torch.arange(4).repeat_interleave(torch.tensor(counts))
        y, a = groups // 2, groups % 2
        inputs = torch.randint(
            0, 80, (len(groups), 3, 64, 64), generator=generator(first, "birds"), dtype=torch.uint8
        )
        inputs[a == 1, 0] += 100
        inputs[y == 1, 1, 20:40, 20:40] += 150
        parts.append(GroupedSet(inputs, y, a, torch.arange(first, first + len(groups)), 2, 2, "birds"))
        first += len(groups)
    return GroupedSplits(*parts)


@pytest.mark.filterwarnings("ignore:Cross-Risk Minimization is degenerate")
@pytest.mark.parametrize("kind", photographs.FEATURES)
def test_features_are_standardized_on_the_training_set_and_serve_every_method(kind, monkeypatch):
    monkeypatch.setattr(photographs, "waterbirds64", made_birds)
    bird_features.cache_clear()
    splits = bird_features(kind, None)
    assert splits.train.inputs.mean(0).abs().max() < 1e-4
    assert torch.equal(splits.test.ids, made_birds().test.ids)
    found = bird_heads(features=kind, methods=["erm", "mat_oracle"], steps=5, twin_steps=5, seeds=[0, 1])
    assert [[row["method"] for row in one] for one in found] == [["erm", "mat_oracle"]] * 2
    bird_features.cache_clear()


def test_patch_features_do_not_depend_on_how_images_are_split_into_batches():
    images = torch.rand(6, 3, 32, 32, generator=generator(0, "patches"))
    describe = photographs._patch_features(images, seed=0)
    assert describe(images).shape == (6, 3200)
    parts = torch.cat([describe(part) for part in images.split(4)])
    assert torch.allclose(describe(images), parts, atol=1e-5)


def test_real_waterbirds_have_features():
    if not (REAL / "Waterbirds64" / "waterbirds_64x64.npz").is_file():
        pytest.skip("Waterbirds at 64x64 is not here")
    bird_features.cache_clear()
    splits = bird_features("random_network", str(REAL))
    assert [len(one) for one in splits] == [4795, 1199, 5794]
    bird_features.cache_clear()
