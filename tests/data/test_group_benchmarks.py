import io
import os
import pickle
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from memorization.data import group_benchmarks
from memorization.data.group_benchmarks import (
    BENCHMARKS,
    IDENTITIES,
    has_waterbirds64,
    read_benchmark,
    waterbirds64,
)

REAL = Path(os.environ.get("MEMORIZATION_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
BIRDS = "waterbirds/waterbird_complete95_forest2water2"
# Three splits, not in their order, with every group (y, a) of two classes once; the rows 0, 5, 6, 11 train.
ROWS = [
    (split, y, a)
    for y, a, splits in [(0, 0, "012"), (0, 1, "120"), (1, 0, "021"), (1, 1, "210")]
    for split in map(int, splits)
]
IDS = [[row for row, (split, _, _) in enumerate(ROWS) if split == part] for part in range(3)]


def color(row: int) -> tuple[int, int, int]:
    return (20 * row, 255 - 20 * row, 7)


def write_image(path: Path, row: int, height: int = 30, width: int = 40) -> None:
    """An image of one color in its middle and white at its border."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((height, width, 3), 255, dtype=np.uint8)
    array[1:-1, 1:-1] = color(row)
    Image.fromarray(array).save(path, format="PNG")  # whatever the name ends in: colors stay exact


@pytest.fixture
def birds(tmp_path):
    names = [f"{1 + row % 3:03}.Bird/Bird_{row}.jpg" for row in range(len(ROWS))]
    for row, name in enumerate(names):
        write_image(tmp_path / BIRDS / name, row)
    table = pd.DataFrame({"img_id": range(1, 13), "img_filename": names})
    table["y"], table["split"], table["place"] = ([one[i] for one in ROWS] for i in (1, 0, 2))
    table.to_csv(tmp_path / BIRDS / "metadata.csv", index=False)
    return tmp_path


@pytest.fixture
def celebrities(tmp_path):
    """Attributes in another order than published, and between others."""
    folder = tmp_path / "celeba"
    names = [f"{row + 1:06}.jpg" for row in range(len(ROWS))]
    lines = [str(len(ROWS)), "Male Bald Blond_Hair Young "]
    for row, (_, y, a) in enumerate(ROWS):
        write_image(folder / "img_align_celeba" / names[row], row, 218, 178)
        lines.append(f"{names[row]} {2 * a - 1:2d}  1 {2 * y - 1:2d} -1")
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    partition = [f"{name} {split}\n" for name, (split, _, _) in zip(names, ROWS, strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(partition))
    return tmp_path


class InputFeatures:
    def __init__(self, row: int, label: int, length: int = 128) -> None:
        self.input_ids = [row] * length
        self.input_mask = [1] * length
        self.segment_ids = [row % 2] * length
        self.label_id = label


@pytest.fixture
def sentences(tmp_path, monkeypatch):
    """Twelve rows of ``ROWS`` and six of the third class; features saved as they were at the time."""
    module = ModuleType("utils_glue")
    monkeypatch.setattr(InputFeatures, "__module__", "utils_glue")
    monkeypatch.setattr(module, "InputFeatures", InputFeatures, raising=False)
    rows = [*ROWS, *((split, 2, a) for a in (0, 1) for split in (2, 0, 1))]
    table = pd.DataFrame(rows, columns=["split", "gold_label", "sentence2_has_negation"])
    path = tmp_path / "multinli/data/metadata_random.csv"
    path.parent.mkdir(parents=True)
    table.to_csv(path)
    features = [InputFeatures(row, label) for row, (_, label, _) in enumerate(rows)]
    monkeypatch.setitem(sys.modules, "utils_glue", module)
    for file, begin, end, zipped in (("train", 0, 9, False), ("dev", 9, 12, True), ("dev-mm", 12, 18, False)):
        torch.save(features[begin:end], features_file(tmp_path, file), _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "utils_glue")  # whoever reads has no such module
    return tmp_path


def features_file(root: Path, part: str) -> Path:
    first, _, rest = part.partition("-")
    path = root / f"multinli/glue_data/MNLI/cached_{first}_bert-base-uncased_128_mnli{rest and '-' + rest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


COMMENTS = [  # split, toxicity, what is mentioned
    ("train", 0.7, {"male": 0.5, "black": 1.0}),
    ("val", 0.5, {"female": 0.9, "white": 0.5}),
    ("train", 0.1, {}),
    ("test", 0.2, {"muslim": 0.8}),
    ("test", 0.9, {}),
    ("val", 0.0, {"male": 1.0}),
    ("test", 0.6, {"male": 1.0}),
    ("train", 0.49, {"LGBTQ": 0.49}),
]


@pytest.fixture
def comments(tmp_path):
    rows = []
    for row, (split, toxicity, mentioned) in enumerate(COMMENTS):
        shares = {name: mentioned.get(name, "" if row == 2 else 0.0) for name in IDENTITIES}
        text = "NA" if row == 3 else f'comment, "{row}"\nnext line'
        rows.append({"id": 100 + row, "comment_text": text, "split": split, "toxicity": toxicity, **shares})
    path = tmp_path / "civilcomments/all_data_with_identities.csv"
    path.parent.mkdir()
    pd.DataFrame(rows).to_csv(path)
    return tmp_path


def lengths(texts: list[str]) -> torch.Tensor:
    """A tokenizer whose tokens are the length of the text, and the number that it holds."""
    numbers = [[len(text), int(re.sub(r"\D", "", text) or -1), 0] for text in texts]
    return torch.tensor(numbers)[:, :, None].expand(-1, 3, 220).contiguous()


def columns(parts) -> list[list]:
    return [[part.ids.tolist(), part.labels.tolist(), part.attributes.tolist()] for part in parts]


EXPECTED = [[ids, [ROWS[i][1] for i in ids], [ROWS[i][2] for i in ids]] for ids in IDS]


@pytest.mark.parametrize(("name", "root"), [("waterbirds", "birds"), ("celeba", "celebrities")])
def test_images_are_in_their_splits_in_the_order_of_the_metadata(name, root, request, tmp_path):
    parts = read_benchmark(name, request.getfixturevalue(root), size=14, verify=False)
    assert columns(parts) == EXPECTED
    for part in parts:
        assert part.inputs.dtype == torch.uint8
        assert part.inputs.shape == (4, 3, 14, 14)
        assert part.inputs[:, :, 7, 7].tolist() == [list(color(row)) for row in part.ids.tolist()]
        assert part.groups.tolist() == [0, 1, 2, 3]


def test_birds_are_squeezed_then_cropped_in_the_middle(birds):
    with Image.open(birds / BIRDS / "001.Bird/Bird_0.jpg") as image:
        squeezed = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR))
    first = read_benchmark("waterbirds", birds, verify=False).train.inputs[0]
    assert first.shape == (3, 224, 224)
    assert np.array_equal(first.permute(1, 2, 0), squeezed[16:240, 16:240])


def test_faces_are_cropped_then_resized(celebrities):
    with Image.open(celebrities / "celeba/img_align_celeba/000001.jpg") as image:
        cropped = image.crop((0, 20, 178, 198)).resize((32, 32), Image.Resampling.BILINEAR)
    first = read_benchmark("celeba", celebrities, size=32, verify=False).train.inputs[0]
    assert np.array_equal(first.permute(1, 2, 0), np.asarray(cropped))


def test_kept_images_are_one_file_of_which_each_split_is_a_view(birds, tmp_path, recwarn):
    cache = tmp_path / "cache"
    plain = read_benchmark("waterbirds", birds, size=8, verify=False)
    kept = read_benchmark("waterbirds", birds, size=8, cache=cache, verify=False)
    assert sorted(path.name for path in cache.iterdir()) == ["waterbirds-8.key", "waterbirds-8.npy"]
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(plain, kept, strict=True))
    storages = {part.inputs.untyped_storage().data_ptr() for part in kept}
    assert len(storages) == 1
    assert [part.inputs.storage_offset() for part in kept] == [0, 4 * 192, 8 * 192]
    before = (cache / "waterbirds-8.npy").read_bytes()
    kept.train.inputs[:] = 0
    assert (cache / "waterbirds-8.npy").read_bytes() == before
    assert not [str(warning.message) for warning in recwarn]


def test_kept_images_are_not_decoded_again(birds, tmp_path):
    first = read_benchmark("waterbirds", birds, size=8, cache=tmp_path / "cache", verify=False)
    image = birds / BIRDS / "001.Bird/Bird_0.jpg"
    image.write_bytes(b"x" * image.stat().st_size)  # no image any more, of the same name and size
    again = read_benchmark("waterbirds", birds, size=8, cache=tmp_path / "cache", verify=False)
    assert torch.equal(first.train.inputs, again.train.inputs)
    with pytest.raises(RuntimeError, match=r"Bird_0\.jpg is damaged: cannot identify.*Unpack it again"):
        read_benchmark("waterbirds", birds, size=8, verify=False)


def test_kept_images_are_made_anew_when_a_file_or_the_list_changes(birds, tmp_path):
    cache = tmp_path / "cache"
    read_benchmark("waterbirds", birds, size=8, cache=cache, verify=False)
    changed = birds / BIRDS / "001.Bird/Bird_0.jpg"
    write_image(changed, 11, 50, 50)
    new = read_benchmark("waterbirds", birds, size=8, cache=cache, verify=False)
    assert new.train.inputs[0, :, 4, 4].tolist() == list(color(11))
    table = pd.read_csv(birds / BIRDS / "metadata.csv")
    table.loc[[0, 5], "img_filename"] = table.loc[[5, 0], "img_filename"].to_numpy()
    table.to_csv(birds / BIRDS / "metadata.csv", index=False)
    new = read_benchmark("waterbirds", birds, size=8, cache=cache, verify=False)
    assert new.train.inputs[:2, :, 4, 4].tolist() == [list(color(5)), list(color(11))]


def test_a_damaged_file_of_kept_images_is_told_and_made_anew(birds, tmp_path):
    read_benchmark("waterbirds", birds, size=8, cache=tmp_path, verify=False)
    (tmp_path / "waterbirds-8.npy").write_bytes((tmp_path / "waterbirds-8.npy").read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"waterbirds-8\.npy cannot be read .* and is made anew"):
        again = read_benchmark("waterbirds", birds, size=8, cache=tmp_path, verify=False)
    assert again.test.inputs[:, :, 4, 4].tolist() == [list(color(row)) for row in IDS[2]]


def test_images_that_cannot_be_decoded_leave_nothing_in_the_cache(birds, tmp_path):
    (birds / BIRDS / "001.Bird/Bird_0.jpg").write_bytes(b"none")
    with pytest.raises(RuntimeError, match="is damaged"):
        read_benchmark("waterbirds", birds, size=8, cache=tmp_path / "cache", verify=False)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_face_that_is_smaller_than_its_crop_is_refused(celebrities):
    write_image(celebrities / "celeba/img_align_celeba/000001.jpg", 0, 218, 100)
    with pytest.raises(RuntimeError, match=r"000001\.jpg is damaged: 218x100 pixels; 178x178 or more"):
        read_benchmark("celeba", celebrities, size=8, verify=False)


def test_absent_images_are_counted_and_the_first_named(birds):
    for path in (birds / BIRDS).glob("*/Bird_?.jpg"):  # those below 10
        path.unlink()
    wanted = rf"^10 of the 12 images that the metadata names are not in {birds / BIRDS}: 001"
    with pytest.raises(FileNotFoundError, match=wanted) as error:
        read_benchmark("waterbirds", birds, size=8, verify=False)
    named = re.findall(r"Bird_(\d+)\.jpg", str(error.value))
    assert named == [str(row) for ids in IDS for row in ids if row < 10][:5]
    assert str(error.value).endswith(", ...; unpack the images again")


def test_sentences_come_from_three_files_and_their_row_of_the_metadata(sentences):
    parts = read_benchmark("multinli", sentences, verify=False)
    assert [part.counts.tolist() for part in parts] == [[1] * 6] * 3
    assert parts.train.ids.tolist() == [0, 5, 6, 11, 13, 16]
    for part in parts:
        assert part.inputs.dtype == torch.int64
        assert part.inputs.shape == (6, 3, 128)
        assert torch.equal(part.inputs[:, 0, 0], part.ids)
        assert torch.equal(part.inputs[:, 2, 9], part.ids % 2)
        assert bool((part.inputs[:, 1] == 1).all())


class Harmful:
    def __reduce__(self):
        return os.system, ("echo harm > harm.txt",)


@pytest.mark.parametrize("save", ["pickle", "old", "new"])
def test_a_features_file_that_would_run_code_is_refused(sentences, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = features_file(sentences, "dev")
    if save == "pickle":
        path.write_bytes(pickle.dumps([Harmful()]))
    else:
        torch.save([Harmful()], path, _use_new_zipfile_serialization=save == "new")
    wanted = rf"asks for {os.system.__module__}\.system, which could run code; allowed: InputFeatures alone"
    with pytest.raises(RuntimeError, match=wanted):
        read_benchmark("multinli", sentences, verify=False)
    assert not (tmp_path / "harm.txt").exists()


@pytest.mark.parametrize("call", ["builtins.eval", "torch._utils._rebuild_tensor", "utils_glue.Other"])
def test_every_class_but_the_features_is_refused(sentences, call):
    module, _, name = call.rpartition(".")
    features_file(sentences, "train").write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(RuntimeError, match=f"asks for {re.escape(call)}, which could run code"):
        read_benchmark("multinli", sentences, verify=False)


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", pickle.dumps([1, 2]), pickle.dumps(3), pickle.dumps([]), b"PK\x05\x06" + b"\0" * 18],
)
def test_a_damaged_features_file_is_named(sentences, content):
    features_file(sentences, "train").write_bytes(content)
    with pytest.raises(RuntimeError, match=r"cached_train_bert-base-uncased_128_mnli is damaged: "):
        read_benchmark("multinli", sentences, verify=False)


def save_features(monkeypatch, path: Path, features: list[InputFeatures]) -> None:
    monkeypatch.setattr(InputFeatures, "__module__", __name__)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or ModuleType(__name__))
    monkeypatch.setattr(sys.modules[__name__], "InputFeatures", InputFeatures, raising=False)
    path.write_bytes(pickle.dumps(features))


def test_features_of_another_length_are_refused(sentences, monkeypatch):
    save_features(monkeypatch, features_file(sentences, "dev"), [InputFeatures(0, 0, 64)])
    with pytest.raises(RuntimeError, match=r"sentences of \(3, 64\) numbers; allowed: \(3, 128\)"):
        read_benchmark("multinli", sentences, verify=False)


def test_features_that_do_not_fit_the_metadata_are_refused(sentences, monkeypatch):
    path = features_file(sentences, "dev")
    save_features(monkeypatch, path, [InputFeatures(row, label) for row, label in ((9, 1), (10, 0), (11, 1))])
    with pytest.raises(
        ValueError, match=r"18 rows, the features files 18, and .* first in row 10; use all four"
    ):
        read_benchmark("multinli", sentences, verify=False)
    save_features(monkeypatch, path, [InputFeatures(9, 1)])
    with pytest.raises(
        ValueError, match=r"18 rows, the features files 16, .* of another number; use all four"
    ):
        read_benchmark("multinli", sentences, verify=False)


def test_comments_train_by_no_identity_and_are_tested_on_each(comments):
    train, validation, test = read_benchmark("civilcomments", comments, tokenizer=lengths, verify=False)
    assert columns([train]) == [[[0, 2, 7], [1, 0, 0], [0, 1, 1]]]
    assert (train.classes, train.values, validation.values, test.values) == (2, 2, 8, 8)
    # comment 1 mentions female (1) and white (7), 5 male (0), and 4 none: it is not there
    assert columns([validation]) == [[[8 + 1, 8 + 7, 40], [1, 1, 0], [1, 7, 0]]]
    assert columns([test]) == [[[3 * 8 + 4, 6 * 8], [0, 1], [4, 0]]]
    assert validation.inputs.shape == (3, 3, 220)
    assert validation.inputs[:, 1, 0].tolist() == [1, 1, 5]
    assert train.inputs[:, 1, 0].tolist() == [0, 2, 7]
    assert test.inputs[0, :, 0].tolist() == [2, -1, 0]  # the text "NA" is a text


def test_no_two_groups_of_comments_share_a_number(comments):
    test = read_benchmark("civilcomments", comments, tokenizer=lengths, verify=False).test
    pairs = set(zip(test.labels.tolist(), test.attributes.tolist(), strict=True))
    assert len(set(test.groups.tolist())) == len(pairs)
    assert test.groups.tolist() == [4, 8]  # with 2 y + a, both would be beside others: 4 is (0, 4) and (1, 2)
    assert len(test.counts) == 16


def test_a_comment_is_tokenized_once(comments):
    seen: list[str] = []

    def counting(texts):
        seen.extend(texts)
        return lengths(texts)

    read_benchmark("civilcomments", comments, tokenizer=counting, verify=False)
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (torch.zeros(3, 3, 128, dtype=torch.int64), r"torch\.int64 of shape \(3, 3, 128\)"),
        (torch.zeros(3, 3, 220), r"torch\.float32 of shape \(3, 3, 220\)"),
        ([[1, 2]], r"\[\[1, 2\]\]"),
    ],
)
def test_what_the_tokenizer_returns_is_checked(comments, result, told):
    with pytest.raises(
        ValueError, match=rf"returned {told} for 3 texts; allowed: int64 of shape \(3, 3, 220\)"
    ):
        read_benchmark("civilcomments", comments, tokenizer=lambda texts: result, verify=False)


def test_a_part_without_comments_is_named(comments):
    path = comments / "civilcomments/all_data_with_identities.csv"
    table = pd.read_csv(path, index_col=0, keep_default_na=False)
    table = table[(table["split"] != "val") | (table["toxicity"] > 1)]
    table.to_csv(path)
    with pytest.raises(ValueError, match="civilcomments: the metadata has no example for the validation set"):
        read_benchmark("civilcomments", comments, tokenizer=lengths, verify=False)


@pytest.mark.parametrize(("column", "value"), [("toxicity", ""), ("male", "much")])
def test_a_share_that_is_no_number_is_named(comments, column, value):
    path = comments / "civilcomments/all_data_with_identities.csv"
    table = pd.read_csv(path, index_col=0, dtype=str, keep_default_na=False)
    table.loc[table.index[4], column] = value
    table.to_csv(path)
    with pytest.raises(ValueError, match=rf"{column} of row 4 is '{value}'; allowed: a number"):
        read_benchmark("civilcomments", comments, tokenizer=lengths, verify=False)


def test_without_transformers_the_extra_is_named(comments, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=re.escape('pip install "memorization-measured[text]", or pass a')):
        read_benchmark("civilcomments", comments, verify=False)


def test_the_usual_tokenizer_is_that_of_bert(comments, monkeypatch):
    class Bert:
        @staticmethod
        def from_pretrained(name):
            assert name == "bert-base-uncased"
            return Bert()

        def __call__(self, texts, *, padding, truncation, max_length, return_tensors):
            assert (padding, truncation, return_tensors) == ("max_length", True, "pt")
            parts = ("token_type_ids", "attention_mask", "input_ids")
            return {part: torch.full((len(texts), max_length), i) for i, part in enumerate(parts)}

    module = ModuleType("transformers")
    module.AutoTokenizer = Bert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)
    parts = read_benchmark("civilcomments", comments, verify=False)
    assert parts.train.inputs[:, :, 219].tolist() == [[2, 1, 0]] * 3


READERS = {
    "waterbirds": "birds",
    "celeba": "celebrities",
    "multinli": "sentences",
    "civilcomments": "comments",
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_absent_benchmark_is_told_with_its_layout(name, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"^{name} was not found in {tmp_path} \(no {name}/"
    ) as error:
        read_benchmark(name, tmp_path)
    for part in (
        *group_benchmarks._LAYOUTS[name],
        "Expected there:",
        "MEMORIZATION_DATA",
        "nothing is fetched",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "file"), [(name, file) for name in BENCHMARKS for file in group_benchmarks._LAYOUTS[name]]
)
def test_an_absent_file_is_named(name, file, request):
    root = request.getfixturevalue(READERS[name])
    path = root / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{name} was not found in {root} (no {file}).")):
        read_benchmark(name, root, verify=False)


TABLES = {
    "waterbirds": (f"{BIRDS}/metadata.csv", "place"),
    "celeba": ("celeba/list_attr_celeba.txt", "Male"),
    "multinli": ("multinli/data/metadata_random.csv", "gold_label"),
    "civilcomments": ("civilcomments/all_data_with_identities.csv", "LGBTQ"),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_absent_column_is_named_with_those_that_are_there(name, request):
    root = request.getfixturevalue(READERS[name])
    file, column = TABLES[name]
    text = (root / file).read_text()
    (root / file).write_text(text.replace(column, "something", 1))
    wanted = (
        rf"{re.escape(file)} has no column {column}; there are .*something.*Use the metadata as published"
    )
    given: dict[str, Any] = {"tokenizer": lengths} if name == "civilcomments" else {}
    with pytest.raises(ValueError, match=wanted):
        read_benchmark(name, root, verify=False, **given)


@pytest.mark.parametrize(
    ("name", "content"),
    [*((name, b"\xff\xfe,a\n1,2\n") for name in BENCHMARKS), ("waterbirds", b""), ("multinli", b"")],
)
def test_a_damaged_table_is_named(name, content, request):
    root = request.getfixturevalue(READERS[name])
    file = "celeba/list_eval_partition.txt" if name == "celeba" else TABLES[name][0]
    (root / file).write_bytes(content)
    given: dict[str, Any] = {"tokenizer": lengths} if name == "civilcomments" else {}
    with pytest.raises(RuntimeError, match=rf"{re.escape(file)} is damaged: .*\. Fetch it again"):
        read_benchmark(name, root, verify=False, **given)


@pytest.mark.parametrize("name", ["waterbirds", "multinli", "civilcomments"])
def test_a_table_of_no_rows_is_named(name, request):
    root = request.getfixturevalue(READERS[name])
    path = root / TABLES[name][0]
    path.write_text(path.read_text().splitlines()[0] + "\n")
    given: dict[str, Any] = {"tokenizer": lengths} if name == "civilcomments" else {}
    with pytest.raises(ValueError, match=f"{name}: the metadata has no example for the training set"):
        read_benchmark(name, root, verify=False, **given)


@pytest.mark.parametrize(
    ("name", "found", "published"),
    [
        ("waterbirds", "examples in each group of the training set: 1, 1, 1, 1", "3498, 184, 56, 1057"),
        ("celeba", "examples in each group of the training set: 1, 1, 1, 1", "71629, 66874, 22880, 1387"),
        ("multinli", "of the training set: 1, 1, 1, 1, 1, 1", "57498, 11158, 67376, 1521, 66630, 1992"),
        ("civilcomments", "comments of the training set: 3", "269038"),
    ],
)
def test_other_numbers_than_published_are_refused_with_both(name, found, published, request):
    root = request.getfixturevalue(READERS[name])
    given: dict[str, Any] = {"tokenizer": lengths} if name == "civilcomments" else {}
    with pytest.raises(ValueError, match=rf"{found}; published: {published}\. .* or pass verify=False"):
        read_benchmark(name, root, **given)


def test_the_published_numbers_add_up():
    sums = {name: [sum(part) for part in parts] for name, parts in group_benchmarks._PUBLISHED.items()}
    assert sums == {
        "waterbirds64": [4795, 1199, 5794],
        "waterbirds": [4795, 1199, 5794],
        "celeba": [162770, 19867, 19962],
        "multinli": [206175, 82462, 123712],
        "civilcomments": [269038, 45180, 133782],
    }


def change_birds(root: Path, column: str, rows: list[int], value: object) -> None:
    table = pd.read_csv(root / BIRDS / "metadata.csv", dtype=str)
    table.loc[rows, column] = str(value)
    table.to_csv(root / BIRDS / "metadata.csv", index=False)


@pytest.mark.parametrize(("part", "number"), [("validation", 1), ("test", 2)])
def test_a_group_of_training_that_another_part_lacks_is_named(birds, part, number):
    rows = [row for row, one in enumerate(ROWS) if one == (number, 1, 0)]
    change_birds(birds, "place", rows, 1)
    wanted = rf"group 2 \(label 1, attribute 0\) is in the training set and not in the {part} set"
    with pytest.raises(ValueError, match=wanted):
        read_benchmark("waterbirds", birds, verify=False)


def test_an_empty_part_is_named(birds):
    change_birds(birds, "split", IDS[2], 1)
    with pytest.raises(ValueError, match="waterbirds: the metadata has no example for the test set"):
        read_benchmark("waterbirds", birds, verify=False)


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [("y", 2, "0, 1"), ("split", 3, "0, 1, 2, train, val, test"), ("place", "", "0")],
)
def test_a_value_that_is_not_allowed_is_named_with_its_row(birds, column, value, allowed):
    change_birds(birds, column, [7, 9], value)
    with pytest.raises(ValueError, match=rf"{column} of row 7 is '{value}'; allowed: {allowed}"):
        read_benchmark("waterbirds", birds, verify=False)


def test_lists_of_other_faces_are_refused(celebrities):
    path = celebrities / "celeba/list_eval_partition.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        ValueError, match=r"lists 11 images and .* 12, or in another order; allowed: the same"
    ):
        read_benchmark("celeba", celebrities, verify=False)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("waterbird", {}, "unknown benchmark 'waterbird'; did you mean 'waterbirds'"),
        ("celeba", {"size": 0}, "size=0; allowed: a whole number, 1 or more"),
        ("multinli", {"size": 64}, "size=64; multinli has no images: leave size out"),
        ("celeba", {"tokenizer": len}, "celeba takes none: leave it out"),
    ],
)
def test_what_does_not_fit_the_benchmark_is_refused(name, given, told, tmp_path):
    with pytest.raises(ValueError, match=re.escape(told)):
        read_benchmark(name, tmp_path, **given)


def write_small_birds(root: Path, **changes: np.ndarray) -> None:
    parts = []
    for row in range(len(ROWS)):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), color(row)).save(buffer, format="JPEG", quality=95)
        parts.append(np.frombuffer(buffer.getvalue(), np.uint8))
    arrays: dict[str, Any] = {"jpeg": np.concatenate(parts), "offset": np.cumsum([0, *map(len, parts)])}
    for place, key in enumerate(("split", "y", "place")):
        arrays[key] = np.array([one[place] for one in ROWS], dtype=np.uint8)
    (root / "Waterbirds64").mkdir(exist_ok=True)
    np.savez(root / "Waterbirds64/waterbirds_64x64.npz", **{**arrays, **changes})


def test_small_birds_are_decoded_from_one_file(tmp_path, monkeypatch):
    write_small_birds(tmp_path)
    monkeypatch.setitem(group_benchmarks._PUBLISHED, "waterbirds64", ((1,) * 4,) * 3)
    assert has_waterbirds64(tmp_path)
    parts = waterbirds64(tmp_path)
    assert columns(parts) == EXPECTED
    for part in parts:
        assert part.inputs.shape == (4, 3, 64, 64)
        for image, row in zip(part.inputs, part.ids.tolist(), strict=True):
            assert (image[:, 30, 30].int() - torch.tensor(color(row))).abs().max() <= 6
    assert waterbirds64(tmp_path) is parts


def test_published_birds_are_squeezed_where_the_small_copy_is_absent(birds, monkeypatch):
    monkeypatch.setitem(group_benchmarks._PUBLISHED, "waterbirds64", ((1,) * 4,) * 3)
    source, expected = np.random.default_rng(0), {}
    for path in (birds / BIRDS).glob("*/*.jpg"):
        original = Image.fromarray(source.integers(0, 256, (90, 150, 3), dtype=np.uint8))
        original.save(path, format="PNG")
        stored = io.BytesIO()  # as the small copy was made: the whole picture, Lanczos, JPEG 90 with 4:2:0
        original.resize((64, 64), Image.Resampling.LANCZOS).save(stored, "JPEG", quality=90, subsampling=2)
        expected[int(path.stem[5:])] = np.array(Image.open(stored))
    parts = waterbirds64(birds)
    assert columns(parts) == EXPECTED
    for part in parts:
        assert part.name == "waterbirds64"
        assert part.inputs.dtype == torch.uint8
        for image, row in zip(part.inputs, part.ids.tolist(), strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected[row])
    write_small_birds(birds)  # from now on, it goes first
    group_benchmarks._waterbirds64.cache_clear()
    first = waterbirds64(birds).train
    assert (first.inputs[0, :, 30, 30].int() - torch.tensor(color(int(first.ids[0])))).abs().max() <= 6


def test_published_birds_that_are_absent_or_of_other_numbers_are_named_at_64_pixels(birds, monkeypatch):
    with pytest.raises(ValueError, match=r"waterbirds64: .* training set: 1, 1, 1, 1; published: 3498"):
        waterbirds64(birds)
    monkeypatch.setitem(group_benchmarks._PUBLISHED, "waterbirds64", ((1,) * 4,) * 3)
    (birds / BIRDS / "001.Bird/Bird_3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 12 images that the metadata names .*Bird_3\.jpg"):
        waterbirds64(birds)
    assert has_waterbirds64(birds)
    shutil.rmtree(birds / "waterbirds")
    assert not has_waterbirds64(birds)
    with pytest.raises(FileNotFoundError, match=rf"or, in place of it, {BIRDS} as published"):
        waterbirds64(birds)


def test_small_birds_of_other_numbers_are_refused_with_both(tmp_path):
    write_small_birds(tmp_path)
    with pytest.raises(ValueError, match=r"training set: 1, 1, 1, 1; published: 3498, 184, 56, 1057.*again$"):
        waterbirds64(tmp_path)


def test_small_birds_that_are_absent_or_damaged_are_named(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=r"waterbirds64 was not found in .*no Waterbirds64/waterbirds_64x64\.npz\)"
    ):
        waterbirds64(tmp_path)
    monkeypatch.setitem(group_benchmarks._PUBLISHED, "waterbirds64", ((1,) * 4,) * 3)
    write_small_birds(tmp_path, jpeg=np.zeros(9000, np.uint8))
    with pytest.raises(RuntimeError, match=r"waterbirds_64x64\.npz is damaged: image 0: cannot identify"):
        waterbirds64(tmp_path)
    (tmp_path / "Waterbirds64/waterbirds_64x64.npz").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match=r"waterbirds_64x64\.npz is damaged .*Copy it again"):
        waterbirds64(tmp_path)


def test_the_real_small_birds_have_the_published_groups():
    if not (REAL / "Waterbirds64/waterbirds_64x64.npz").is_file():
        pytest.skip(f"no Waterbirds64 in {REAL}; set MEMORIZATION_DATA to run this test")
    parts = waterbirds64(REAL)
    assert [len(part) for part in parts] == [4795, 1199, 5794]
    assert parts.test.counts.tolist() == [2255, 2255, 642, 642]
    assert parts.train.ids[:5].tolist() == [1, 3, 4, 6, 8]
    assert len(torch.cat([part.ids for part in parts]).unique()) == 11788
    means = torch.stack([part.inputs[:500].float().mean() for part in parts])
    assert bool(((means > 80) & (means < 160)).all())
