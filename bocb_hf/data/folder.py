"""Local folders of images: which of their files are data, and what is wrong with their layout.

The library ``datasets`` decides which files it reads and to which split each belongs; its answer is asked for before
anything is read. Files that it does not read (``.DS_Store``, ``Thumbs.db``, ``._*``, ``__MACOSX``, ``.cache``, notes,
and everything outside the splits) count neither as images nor in the revision.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bocb_hf.errors import InputError
from bocb_hf.schema import one_line

# words that ``datasets`` takes for the name of a split at the start or the end of a folder's or a file's name
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NO_DATA = frozenset(("readme.md", "license", "thumbs.db", "desktop.ini"))
_METADATA = frozenset(("metadata.csv", "metadata.jsonl", "metadata.parquet"))
_DATA = frozenset(
    (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".parquet", ".arrow", ".csv", ".zip")
)
_SHOWN = 3  # number of paths that a message names


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder of images.

    Attributes:
        root: The folder, resolved.
        splits: Files that are read, for each split, relative to the root.
        pictures: Whether these files are images and tables that describe images beside them; otherwise they are tables
            that hold the images.
    """

    root: Path
    splits: Mapping[str, Sequence[Path]]
    pictures: bool

    @property
    def read(self) -> list[Path]:
        """All files that are read, relative to the root."""
        return sorted({path for paths in self.splits.values() for path in paths})

    def unread(self) -> list[Path]:
        """Paths in the folder that are not read: linked folders, and files that are neither hidden nor a system's."""
        known, found = set(self.read), list[Path]()
        for here, folders, names in os.walk(self.root):
            where = Path(here).relative_to(self.root)
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
            found += [where / name for name in folders if (Path(here) / name).is_symlink()]
            found += [where / n for n in sorted(names) if not n.startswith(".") and n.lower() not in _NO_DATA]
        return [path for path in found if path not in known]

    def misses_data(self) -> bool:
        """Whether an image, a table or a linked folder is among the paths that are not read."""
        return any(path.suffix.lower() in _DATA or (self.root / path).is_dir() for path in self.unread())


def find_files(builder: Any, folder: Path) -> FolderFiles:
    """Finds the files that a builder of ``datasets`` would read from a folder.

    Raises:
        InputError: A file belongs to two splits, or a split's folder is written in upper case.
    """
    root, splits, pictures = folder.resolve(), dict[str, list[Path]](), False
    for split, files in builder.config.data_files.items():
        chosen: Sequence[str] = files
        if hasattr(builder, "_split_files_and_metadata_and_archives"):
            pictures = True
            images, metadata, archives = builder._split_files_and_metadata_and_archives(files)
            chosen = [*images, *metadata, *archives]
        splits[str(split)] = sorted(Path(os.path.relpath(file, root)) for file in chosen)
    found = FolderFiles(root, splits, pictures)
    _check_splits_apart(found, folder)
    _check_case(found, folder)
    return found


def _check_splits_apart(files: FolderFiles, folder: Path) -> None:
    """Raises InputError for a file that is read for two splits."""
    owners: dict[Path, str] = {}
    for split, paths in files.splits.items():
        for path in paths:
            other = owners.setdefault(path, split)
            if other != split:
                words = ", ".join(word for words in _SPLIT_WORDS.values() for word in words)
                raise InputError(
                    f"data.name: {folder / path} would be read for two splits, {other!r} and {split!r}: a folder or a "
                    f"file whose name begins or ends with one of the words {words} is taken for the split of that "
                    "name, at every depth; rename the class or the file"
                )


def _check_case(files: FolderFiles, folder: Path) -> None:
    """Raises InputError where all images are taken for one split because a split's folder is not in lower case."""
    if len(files.splits) > 1:
        return
    words = {word for words in _SPLIT_WORDS.values() for word in words}
    for path in files.read:
        for part in path.parts[:-1]:
            if part.lower() in words and part not in words:
                raise InputError(
                    f"data.name: the folder {part!r} in {folder} is not taken for a split, since datasets knows the "
                    f"names of splits in lower case only, and its images would be mixed with the others; rename it "
                    f"to {part.lower()!r}"
                )


def describe_unread(files: FolderFiles) -> str:
    """Describes what is not read from a folder, as an addition to an error; empty when everything is read."""
    unread = files.unread()
    return f"; of this folder are not read: {_some(unread)}" if unread else ""


def explain_missing_labels(files: FolderFiles, name: str, columns: Sequence[str]) -> str:
    """Explains why the images of a folder have no labels: which layout is expected, and how the folder differs."""
    expected = f"{name}/train/<class>/<image> and {name}/test/<class>/<image>"
    start = f"data.label_column: the images of {name!r} have no labels. Expected is {expected}, all at one depth; "
    read = files.read
    tables = [path for path in read if path.name in _METADATA]
    if tables:
        given = ", ".join(column for column in columns if column != "image") or "none"
        return (
            f"{start}but {tables[0]} describes the images in place of class folders, and none of its columns is of "
            f"type ClassLabel (columns: {given}); remove it, or name its column of integers as data.label_column"
        )
    depths = Counter(len(path.parts) for path in read)
    if len(depths) > 1:
        usual = depths.most_common(1)[0][0]
        odd = [path for path in read if len(path.parts) != usual]
        example = next(path for path in read if len(path.parts) == usual)
        return f"{start}but {_some(odd)} lies at another depth than {example}; move or remove it"
    classes = sorted({path.parent.name for path in read})
    unread = files.unread()
    if len(classes) == 1 and unread:
        word = next((w for words in _SPLIT_WORDS.values() for w in words if classes[0].startswith(w)), None)
        why = "; a folder of that name is taken for a split, and what lies beside it is not read" if word else ""
        return (
            f"{start}but all images that are read lie in one folder, {classes[0]!r}{why}. Not read are: "
            f"{_some(unread)}; put the class folders into {name}/train and {name}/test"
        )
    where = f"in one folder, {classes[0]!r}" if classes != [""] else "in the folder itself"
    return f"{start}but its {len(read)} image(s) lie {where}; a classifier needs at least 2 classes"


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return one_line(", ".join(path.as_posix() for path in paths[:_SHOWN])) + more
