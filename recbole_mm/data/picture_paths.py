"""Paths of pictures, which must stay inside the picture folder."""

import os
import posixpath
from pathlib import Path, PureWindowsPath

from recbole_mm.errors import InputError


def resolve_image_path(image_dir: Path, name: str) -> Path:
    """The path of the picture `name` inside `image_dir`, normalised. `name` has "/" between folders, and is relative, or absolute and
    below `image_dir`, whichever links lead to the two.

    Raises:
        InputError: the name leads out of `image_dir`, whether "/" alone or "\\" as well separates folders; or a link on the way does.
    """
    inside = _below(image_dir, name) if Path(name).is_absolute() and "\0" not in name else name
    names = posixpath.normpath(inside), posixpath.normpath(inside.replace("\\", "/"))
    absolute = inside.startswith(("/", "\\")) or PureWindowsPath(inside).is_absolute() or Path(inside).drive
    if absolute or "\0" in name or any(normal.split("/")[0] == ".." for normal in names):
        raise InputError(f"picture {name!r} lies outside image_dir {image_dir}; name it by a path inside that folder.")
    if links_out(image_dir, names[0]):
        raise InputError(f"picture {name!r} is a link out of image_dir {image_dir}; put the picture itself into that folder.")
    return Path(image_dir) / names[0]


def links_out(folder: Path, name: str) -> bool:
    """Whether a link on the way to `name`, a normalised path below `folder`, leads out of the folder. The folder itself may be a link."""
    parts = name.split("/")
    if not any(os.path.islink(os.path.join(folder, *parts[: i + 1])) for i in range(len(parts))):
        return False
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(os.path.join(folder, name))]) != root


def _below(folder: Path, name: str) -> str:
    """An absolute path relative to a folder, as both are written or as links resolve them; unchanged where it is not below the folder."""
    for resolve in (os.path.abspath, os.path.realpath):
        root, path = Path(resolve(folder)), Path(resolve(name))
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return name
