"""Published benchmarks with groups: Waterbirds, CelebA, MultiNLI and CivilComments, from their own files.

Nothing is fetched: the files lie in the layout in which their authors gave them out. A set of images is
cropped once, into one array of bytes that may be larger than the memory, because it stays in its file. Rows
keep the order of the metadata file, and the number of a row is the id of its example, so that held-out
predictions made at one place fit the examples read at another. The settings are those of Sagawa et al. (ICLR
2020) and, for CivilComments, of Pezeshki et al. (ICML 2024). :func:`waterbirds64` reads Waterbirds at 64x64,
which a laptop can train on.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from memorization.checks import check_choice, check_whole
from memorization.data.groups import GroupedSet, GroupedSplits
from memorization.data.image_sets import data_root

BENCHMARKS = ("waterbirds", "celeba", "multinli", "civilcomments")
IDENTITIES = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")
Tokenizer = Callable[[list[str]], Tensor]

_PARTS = ("training", "validation", "test")
_SPLITS = {"0": 0, "1": 1, "2": 2, "train": 0, "val": 1, "test": 2}
_BINARY = {"0": 0, "1": 1}
_SIGNS = {"-1": 0, "1": 1}
_RELATIONS = {"0": 0, "1": 1, "2": 2, "contradiction": 0, "entailment": 1, "neutral": 2}
_BIRDS = "waterbirds/waterbird_complete95_forest2water2"
_SMALL_BIRDS = "Waterbirds64/waterbirds_64x64.npz"
_SENTENCES = "multinli/glue_data/MNLI/cached_"
_LAYOUTS = {  # what must be there, and what it is
    "waterbirds64": {
        _SMALL_BIRDS: f"arrays jpeg, offset, y, place, split; or, in place of it, {_BIRDS} as published",
    },
    "waterbirds": {f"{_BIRDS}/metadata.csv": "img_id, img_filename, y, split, place; beside it the images"},
    "celeba": {
        "celeba/img_align_celeba": "the images",
        "celeba/list_attr_celeba.txt": "how many, the names of the attributes, then a line an image",
        "celeba/list_eval_partition.txt": "a line an image: its name, and 0, 1 or 2",
    },
    "multinli": {
        f"{_SENTENCES}train_bert-base-uncased_128_mnli": "features of the sentences, first part",
        f"{_SENTENCES}dev_bert-base-uncased_128_mnli": "second part",
        f"{_SENTENCES}dev_bert-base-uncased_128_mnli-mm": "third part",
        "multinli/data/metadata_random.csv": "gold_label, split, sentence2_has_negation",
    },
    "civilcomments": {
        "civilcomments/all_data_with_identities.csv": "comment_text, split, toxicity, the identities",
    },
}
_BIRD_COUNTS = ((3498, 184, 56, 1057), (467, 466, 133, 133), (2255, 2255, 642, 642))
_PUBLISHED: dict[str, tuple[tuple[int, ...], ...]] = {  # training, validation, test
    "waterbirds64": _BIRD_COUNTS,
    "waterbirds": _BIRD_COUNTS,
    "celeba": ((71629, 66874, 22880, 1387), (8535, 8276, 2874, 182), (9767, 7535, 2480, 180)),
    "multinli": (
        (57498, 11158, 67376, 1521, 66630, 1992),
        (22814, 4634, 26949, 613, 26655, 797),
        (34597, 6655, 40496, 886, 39930, 1148),
    ),
    "civilcomments": ((269038,), (45180,), (133782,)),  # comments, not groups
}


def read_benchmark(
    name: str,
    root: str | Path | None = None,
    *,
    cache: str | Path | None = None,
    size: int | None = None,
    tokenizer: Tokenizer | None = None,
    verify: bool = True,
) -> GroupedSplits:
    """Read a published benchmark; the first reading of a set of images decodes every file.

    ``waterbirds``: label 1 is a waterbird, attribute 1 water behind it. ``celeba``: blond hair, and a man.
    ``multinli``: contradiction, entailment or neutral, and a negation in the second sentence.
    ``civilcomments``: toxic or not; in training, attribute 1 is a comment that mentions no identity; in
    validation and test, a comment is there once for each of the ``IDENTITIES`` it mentions, which is the
    attribute, and not at all if it mentions none.

    Args:
        name: of ``BENCHMARKS``.
        root: folder of the data sets, see :func:`memorization.data.image_sets.data_root`.
        cache: folder in which the images are kept, as one file that is opened and not read whole; it is made
            anew when a name or the bytes of an image file change. None: all images in memory (30 GB of
            CelebA). Sets of text keep nothing there.
        size: height and width of the images, 224 if None; not for text.
        tokenizer: of CivilComments: takes a list of n texts, returns int64 of shape (n, 3, 220), which are
            token ids, mask and segments; None: :func:`bert_tokens`.
        verify: hold the numbers of examples against the published ones.

    Returns:
        Images (N, 3, size, size), uint8, or tokens (N, 3, 128) or (N, 3, 220), int64: ids, mask, segments.
        An id is a row of the metadata file, from 0; for validation and test of CivilComments, 8 * row +
        identity.

    Raises:
        FileNotFoundError: if files are absent, with the layout that is expected, or images of the metadata.
        ImportError: for CivilComments without ``tokenizer``, if transformers is absent.
        RuntimeError: if a file is damaged, or a features file asks for code to run.
        ValueError: an unknown name, a size or tokenizer where there is none to give, columns that are absent,
            values that are not allowed, numbers other than published, or a group of the training set that
            validation or test lacks.
    """
    check_choice("benchmark", name, BENCHMARKS)
    images = name in ("waterbirds", "celeba")
    if size is not None and not images:
        raise ValueError(f"size={size!r}; {name} has no images: leave size out")
    if tokenizer is not None and name != "civilcomments":
        raise ValueError(f"tokenizer={tokenizer!r}; {name} takes none: leave it out")
    side = 224 if size is None else size
    check_whole("size", side, 1)
    folder = data_root(root)
    _check_layout(name, folder)
    if name == "civilcomments":
        return _read_civilcomments(folder, bert_tokens() if tokenizer is None else tokenizer, verify)
    if name == "multinli":
        return _read_multinli(folder, verify)
    reader = _read_waterbirds if name == "waterbirds" else _read_celeba
    return reader(folder, Path(cache).expanduser() if cache else None, side, verify)


def waterbirds64(root: str | Path | None = None) -> GroupedSplits:
    """Read Waterbirds at 64x64; its numbers cannot be compared with published ones, of 224x224.

    It is read from a small copy or, where that is absent, made from the published photographs in the way in
    which the copy was made: squeezed to 64x64 whatever their shape (Lanczos filter), and stored as JPEG of
    quality 90. The first call of a process then decodes all of them.

    Args:
        root: folder that holds ``Waterbirds64``, or the photographs in the layout of :func:`read_benchmark`;
            see :func:`memorization.data.image_sets.data_root`.

    Returns:
        Images (N, 3, 64, 64), uint8: label 1 is a waterbird, attribute 1 water behind it, an id is a row of
        the metadata file. The last root's images stay in memory, and are shared: do not change them.

    Raises:
        FileNotFoundError: if both are absent, or a photograph that the metadata names.
        RuntimeError: if a file is damaged.
        ValueError: if groups have other sizes than published.
    """
    return _waterbirds64(data_root(root).resolve())


def has_waterbirds64(root: str | Path | None = None) -> bool:
    """Tell whether :func:`waterbirds64` finds its files under a root, without reading them."""
    return any((data_root(root) / file).exists() for file in (_SMALL_BIRDS, f"{_BIRDS}/metadata.csv"))


def bert_tokens(length: int = 220) -> Tokenizer:
    """Return the tokenizer of bert-base-uncased, which transformers fetches if it has not got it yet.

    Args:
        length: of a text in tokens, >= 1; longer texts are cut, shorter ones padded.

    Returns:
        A function of a list of n texts: token ids, mask and segments, int64 of shape (n, 3, length).

    Raises:
        ImportError: if transformers is not installed.
    """
    check_whole("length", length, 1)
    try:
        package: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            f'BERT\'s tokens need transformers ({error}): pip install "memorization-measured[text]", or pass '
            "a tokenizer of your own"
        ) from error
    bert = package.AutoTokenizer.from_pretrained("bert-base-uncased")

    def tokens(texts: list[str]) -> Tensor:
        found = bert(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return torch.stack([found[key] for key in ("input_ids", "attention_mask", "token_type_ids")], dim=1)

    return tokens


def _check_layout(name: str, root: Path) -> None:
    absent = [file for file in _LAYOUTS[name] if not (root / file).exists()]
    if absent:
        layout = "".join(f"\n  {file}: {what}" for file, what in _LAYOUTS[name].items())
        raise FileNotFoundError(
            f"{name} was not found in {root} (no {', no '.join(absent)}). Expected there:{layout}\n"
            "Put the published files there, or point MEMORIZATION_DATA at the folder that holds them; "
            "nothing is fetched."
        )


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a comma-separated file, found by their names."""
    _check_columns(path, columns, list(_read_text(path, nrows=0).columns))
    return _read_text(path, usecols=list(columns))


def _read_text(path: Path, **options: Any) -> pd.DataFrame:
    """Read a table as text, in which nothing is taken for a missing value."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    except ValueError as error:  # pandas' own errors are of this kind
        raise RuntimeError(f"{path} is damaged: {error}. Fetch it again") from error


def _check_columns(path: Path, wanted: Sequence[str], found: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in found]
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; there are {', '.join(map(str, found))}. Use the "
            "metadata as published"
        )


def _coded(path: Path, column: pd.Series, codes: Mapping[str, int]) -> Tensor:
    """Numbers of what a column says, or a refusal that names the first row that says something else."""
    texts = column.str.strip().str.removesuffix(".0")
    numbers = texts.map(codes)
    if bool(numbers.isna().any()):
        row = int(numbers.isna().to_numpy().argmax())
        raise ValueError(
            f"{path}: {column.name} of row {row} is {column.iloc[row]!r}; allowed: {', '.join(codes)}"
        )
    return torch.from_numpy(numbers.to_numpy(np.int64, copy=True))


def _parted(
    name: str, labels: Tensor, attributes: Tensor, splits: Tensor, *, classes: int = 2, verify: bool
) -> GroupedSplits:
    """Put rows into their splits, in their order; for now, the numbers of the rows are the inputs, too."""
    parts = []
    for number, part in enumerate(_PARTS):
        rows = (splits == number).nonzero().flatten()
        _check_rows(name, part, len(rows))
        parts.append(GroupedSet(rows, labels[rows], attributes[rows], rows, classes, 2, name))
    if verify:
        _check_published(name, [part.counts.tolist() for part in parts], "examples in each group")
    for part, examples in zip(_PARTS[1:], parts[1:], strict=True):
        absent = ((parts[0].counts > 0) & (examples.counts == 0)).nonzero().flatten().tolist()
        if absent:
            label, attribute = divmod(absent[0], examples.values)
            raise ValueError(
                f"{name}: group {absent[0]} (label {label}, attribute {attribute}) is in the "
                f"training set and not in the {part} set, which could not tell its accuracy; use the splits "
                "as published"
            )
    return GroupedSplits(*parts)


def _check_rows(name: str, part: str, rows: int) -> None:
    if rows == 0:
        raise ValueError(f"{name}: the metadata has no example for the {part} set; use it as published")


def _check_published(name: str, found: Iterable[Sequence[int]], what: str) -> None:
    for part, given, published in zip(_PARTS, found, _PUBLISHED[name], strict=True):
        if tuple(given) != published:
            raise ValueError(
                f"{name}: {what} of the {part} set: {', '.join(map(str, given))}; published: "
                f"{', '.join(map(str, published))}. The files are cut off or of another version: fetch them "
                "again" + ("" if name == "waterbirds64" else ", or pass verify=False to use them as they are")
            )


def _rows(parts: GroupedSplits) -> Tensor:
    """Rows of the metadata, training, validation and test one after the other."""
    return torch.cat([part.ids for part in parts])


def _filled(parts: GroupedSplits, inputs: Tensor) -> GroupedSplits:
    """Give the parts their inputs, which come in the order of :func:`_rows`: each is a view of them."""
    pieces = inputs.split([len(part) for part in parts])
    return GroupedSplits(*(replace(part, inputs=piece) for part, piece in zip(parts, pieces, strict=True)))


def _read_waterbirds(
    root: Path, cache: Path | None, size: int, verify: bool, *, small: bool = False
) -> GroupedSplits:
    name, crop = ("waterbirds64", _squeezed) if small else ("waterbirds", _bird)
    path = root / _BIRDS / "metadata.csv"
    table = _read_table(path, ("img_filename", "y", "split", "place"))
    labels, places = (_coded(path, table[column], _BINARY) for column in ("y", "place"))
    parts = _parted(name, labels, places, _coded(path, table["split"], _SPLITS), verify=verify)
    names = table["img_filename"].to_numpy()[_rows(parts).numpy()]
    return _filled(parts, _pictures(name, path.parent, names, cache, size, crop))


def _read_celeba(root: Path, cache: Path | None, size: int, verify: bool) -> GroupedSplits:
    path, splits = root / "celeba/list_attr_celeba.txt", root / "celeba/list_eval_partition.txt"
    with path.open(encoding="utf-8", errors="replace") as file:
        header = [file.readline(), file.readline()][1].split()
    wanted = ("Blond_Hair", "Male")
    _check_columns(path, wanted, header)
    places = [0, *(1 + header.index(column) for column in wanted)]
    table = _read_text(path, skiprows=2, usecols=places, sep=r"\s+", header=None)[places]
    table = table.set_axis(["image", *wanted], axis=1)
    split = _read_text(splits, sep=r"\s+", header=None, names=["image", "split"])
    if table["image"].tolist() != split["image"].tolist():
        raise ValueError(
            f"{splits} lists {len(split)} images and {path} {len(table)}, or in another order; allowed: the "
            "same images in one order: use both files as published"
        )
    blond, male = (_coded(path, table[column], _SIGNS) for column in wanted)
    parts = _parted("celeba", blond, male, _coded(splits, split["split"], _SPLITS), verify=verify)
    names = table["image"].to_numpy()[_rows(parts).numpy()]
    return _filled(parts, _pictures("celeba", root / "celeba/img_align_celeba", names, cache, size, _face))


Crop = Callable[[Image.Image, int], Image.Image]


def _bird(image: Image.Image, size: int) -> Image.Image:
    side = round(size * 256 / 224)
    return _center(image.resize((side, side), Image.Resampling.BILINEAR), size)


def _squeezed(image: Image.Image, size: int) -> Image.Image:
    """The whole image whatever its shape, with the losses of the small copy: its pixels are then the same."""
    stored = io.BytesIO()
    image.resize((size, size), Image.Resampling.LANCZOS).save(stored, "JPEG", quality=90, subsampling="4:2:0")
    return Image.open(stored)


def _face(image: Image.Image, size: int) -> Image.Image:
    return _center(image, 178).resize((size, size), Image.Resampling.BILINEAR)


def _center(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    if min(width, height) < side:
        raise ValueError(f"{height}x{width} pixels; {side}x{side} or more are needed")
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def _pictures(
    name: str, folder: Path, names: Sequence[str], cache: Path | None, size: int, crop: Crop
) -> Tensor:
    """Pixels of images, in the order of their names: of a file in ``cache``, or decoded into the memory."""
    paths = [folder / one for one in names]
    listing = f"{name} {size}\n" + _listing(folder, names)
    shape = (len(paths), 3, size, size)
    if cache is None:
        pixels = np.empty(shape, np.uint8)
        _decode(paths, crop, pixels)
        return torch.from_numpy(pixels)
    key = hashlib.sha256(listing.encode()).hexdigest()
    kept, mark = cache / f"{name}-{size}.npy", cache / f"{name}-{size}.key"
    found = _opened(kept) if mark.is_file() and mark.read_text(encoding="utf-8") == key else None
    if found is None:
        mark.unlink(missing_ok=True)  # first, so that no key ever stands beside another list's images
        _keep(paths, crop, kept, shape)
        mark.write_text(key, encoding="utf-8")
        found = np.load(kept, mmap_mode="c")
    return torch.from_numpy(found)  # changes would stay in the memory ("c"): the file is never written to


def _listing(folder: Path, names: Sequence[str]) -> str:
    lines, absent = [], []
    for name in names:
        try:
            lines.append(f"{name} {(folder / name).stat().st_size}")
        except FileNotFoundError:
            absent.append(name)
    if absent:
        some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        raise FileNotFoundError(
            f"{len(absent)} of the {len(names)} images that the metadata names are not in {folder}: {some}; "
            "unpack the images again"
        )
    return "\n".join(lines)


def _opened(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(f"{path} cannot be read ({type(error).__name__}) and is made anew", stacklevel=5)
        return None


def _keep(paths: Sequence[Path], crop: Crop, place: Path, shape: tuple[int, ...]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}.draft")  # a killed run leaves no half-written file by the name
    try:
        pixels = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=shape)
        _decode(paths, crop, pixels)
        pixels.flush()
        del pixels  # closes the file
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _decode(paths: Sequence[Path], crop: Crop, pixels: np.ndarray) -> None:
    for number, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                cropped = crop(image.convert("RGB"), pixels.shape[-1])
        except (OSError, ValueError) as error:  # Pillow's own errors are of the first kind
            raise RuntimeError(f"{path} is damaged: {error}. Unpack it again") from error
        pixels[number] = np.asarray(cropped).transpose(2, 0, 1)


@lru_cache(maxsize=1)  # a sweep asks for the same images at every seed
def _waterbirds64(root: Path) -> GroupedSplits:
    path = root / _SMALL_BIRDS
    if not path.exists() and (root / _BIRDS / "metadata.csv").exists():
        return _read_waterbirds(root, None, 64, True, small=True)
    _check_layout("waterbirds64", root)
    try:
        with np.load(path) as file:
            jpeg, offset, *columns = (file[key] for key in ("jpeg", "offset", "y", "place", "split"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise RuntimeError(f"{path} is damaged ({error}). Copy it again") from error
    labels, places, splits = (torch.from_numpy(column.astype(np.int64)) for column in columns)
    parts = _parted("waterbirds64", labels, places, splits, verify=True)
    pixels = torch.empty((len(labels), 3, 64, 64), dtype=torch.uint8)
    for picture, row in zip(pixels, _rows(parts).tolist(), strict=True):
        try:
            with Image.open(io.BytesIO(jpeg[offset[row] : offset[row + 1]].tobytes())) as image:
                picture.copy_(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
        except (OSError, IndexError, RuntimeError) as error:
            raise RuntimeError(f"{path} is damaged: image {row}: {error}. Copy it again") from error
    return _filled(parts, pixels)


_FEATURES = ("input_ids", "input_mask", "segment_ids")
_MAGIC = 0x1950A86A20F9469CFC6C  # first of the pickles in a file of torch.save before version 1.6


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, numbers and texts, and feature objects as plain containers; knows no other class."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file)
        self.path = path
        self.container = type("InputFeatures", (), {})

    def find_class(self, module: str, name: str) -> Any:
        """Return the container for the features' class, wherever it was defined; refuse everything else."""
        if name == "InputFeatures":
            return self.container
        raise RuntimeError(
            f"{self.path} asks for {module}.{name}, which could run code; allowed: InputFeatures alone. It "
            "is not the published file: do not open it by other means"
        )


def _unpickled(path: Path) -> Any:
    if zipfile.is_zipfile(path):  # torch.save since version 1.6
        with zipfile.ZipFile(path) as archive:
            member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            return _PlainUnpickler(io.BytesIO(archive.read(member)), path).load()
    with path.open("rb") as file:
        found = _PlainUnpickler(file, path).load()
        if found == _MAGIC:
            found = [_PlainUnpickler(file, path).load() for _ in range(3)][2]
        return found


def _read_features(path: Path) -> tuple[Tensor, Tensor]:
    """Tokens (n, 3, 128) and labels (n,) of a features file."""
    try:
        found = list(_unpickled(path))
        tokens = torch.stack(
            [torch.tensor([getattr(one, key) for one in found], dtype=torch.int64) for key in _FEATURES], 1
        )
        labels = torch.tensor([one.label_id for one in found], dtype=torch.int64)
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, EOFError, AttributeError, LookupError, TypeError,
        ValueError, StopIteration,
    ) as error:  # fmt: skip
        raise RuntimeError(f"{path} is damaged: {error}. Fetch it again") from error
    if tokens.shape[1:] != (3, 128):
        raise RuntimeError(
            f"{path} is damaged: sentences of {tuple(tokens.shape[1:])} numbers; allowed: (3, 128)"
        )
    return tokens, labels


def _read_multinli(root: Path, verify: bool) -> GroupedSplits:
    path = root / "multinli/data/metadata_random.csv"
    table = _read_table(path, ("gold_label", "split", "sentence2_has_negation"))
    labels = _coded(path, table["gold_label"], _RELATIONS)
    negated = _coded(path, table["sentence2_has_negation"], {**_BINARY, "False": 0, "True": 1})
    splits = _coded(path, table["split"], _SPLITS)
    parts = _parted("multinli", labels, negated, splits, classes=3, verify=verify)
    files = [root / file for file in _LAYOUTS["multinli"] if file.startswith(_SENTENCES)]
    tokens, stored = (torch.cat(column) for column in zip(*map(_read_features, files), strict=True))
    if not torch.equal(stored, labels):
        same = len(stored) == len(labels)
        where = f"first in row {int((stored != labels).nonzero()[0])}" if same else "of another number"
        raise ValueError(
            f"{path} has {len(labels)} rows, the features files {len(stored)}, and their labels differ, "
            f"{where}; use all four files as published"
        )
    return _filled(parts, tokens[_rows(parts)])


def _read_civilcomments(root: Path, tokenizer: Tokenizer, verify: bool) -> GroupedSplits:
    path = root / "civilcomments/all_data_with_identities.csv"
    table = _read_table(path, ("comment_text", "split", "toxicity", *IDENTITIES))
    splits = _coded(path, table["split"], _SPLITS)
    if verify:
        _check_published("civilcomments", [[int((splits == part).sum())] for part in range(3)], "comments")
    toxic = _at_least_half(path, table["toxicity"]).long()
    active = torch.stack([_at_least_half(path, table[name], empty=True) for name in IDENTITIES], dim=1)
    parts = []
    for number, part in enumerate(_PARTS):
        rows = (splits == number).nonzero().flatten()
        if number == 0:
            comments, attributes, values = rows, (~active[rows].any(1)).long(), 2
            ids = comments
        else:
            place, attributes = active[rows].nonzero(as_tuple=True)
            comments, values = rows[place], len(IDENTITIES)
            ids = values * comments + attributes
        _check_rows("civilcomments", part, len(comments))
        inputs = _tokens(table["comment_text"], comments, tokenizer)
        parts.append(GroupedSet(inputs, toxic[comments], attributes, ids, 2, values, "civilcomments"))
    return GroupedSplits(*parts)


def _at_least_half(path: Path, column: pd.Series, *, empty: bool = False) -> Tensor:
    """Tell shares >= 0.5; an empty one, where it is allowed, is not."""
    shares = pd.to_numeric(column, errors="coerce")
    wrong = (shares.isna() & ~(empty & (column == ""))).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{path}: {column.name} of row {row} is {column.iloc[row]!r}; allowed: a number")
    return torch.from_numpy((shares >= 0.5).to_numpy(copy=True))


_CHUNK = 4096


def _tokens(texts: pd.Series, comments: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Tokens of comments, (n, 3, 220); a comment that is there several times is tokenized once."""
    each, place = comments.unique(return_inverse=True)  # sorted, as the comments are
    tokens = torch.empty((len(each), 3, 220), dtype=torch.int64)
    for rows, out in zip(each.split(_CHUNK), tokens.split(_CHUNK), strict=True):
        found = tokenizer(texts.iloc[rows.tolist()].tolist())
        if not isinstance(found, Tensor) or found.dtype != torch.int64 or found.shape != out.shape:
            given = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else found
            raise ValueError(
                f"the tokenizer returned {given!s:.80} for {len(out)} texts; allowed: int64 of shape "
                f"{tuple(out.shape)}"
            )
        out.copy_(found)
    return tokens if len(each) == len(comments) else tokens[place]
