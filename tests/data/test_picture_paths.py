"""Picture paths stay inside the picture folder, or are refused."""

from pathlib import Path

import pytest

from recbole_mm.data.picture_paths import resolve_image_path
from recbole_mm.errors import InputError


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a.jpg", "a.jpg"),
        ("a/../b.jpg", "b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("a\\b.jpg", "a\\b.jpg"),
        ("..a/b..jpg", "..a/b..jpg"),
    ],
)
def test_paths_inside(tmp_path: Path, name: str, inside: str) -> None:
    assert resolve_image_path(tmp_path, name) == tmp_path / inside


@pytest.mark.parametrize(
    "name",
    [
        "../x.jpg",
        "a/../../x.jpg",
        "..",
        "/etc/passwd",
        "..\\x.jpg",
        "a\\..\\..\\x.jpg",
        "\\x.jpg",
        "C:\\x.jpg",
        "\\\\host\\share\\x",
        "a/..\\../x.jpg",
        "x\0.jpg",
    ],
)
def test_paths_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="outside image_dir"):
        resolve_image_path(tmp_path, name)


def test_links_may_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "secret.png").touch()
    (tmp_path / "images/a.png").touch()
    links = {"out.png": "../secret.png", "sub/out.png": "../../secret.png", "up": "..", "in.png": "a.png", "gone.png": "nowhere.png"}
    for name, target in links.items():
        (tmp_path / "images" / name).symlink_to(target)
    (tmp_path / "linked").symlink_to("images")
    for folder in ("images", "linked"):
        for name in ("a.png", "in.png", "gone.png", "none.png"):
            assert resolve_image_path(tmp_path / folder, name) == tmp_path / folder / name
        for name in ("out.png", "sub/out.png", "up/secret.png", "up"):
            with pytest.raises(InputError, match="link out of image_dir"):
                resolve_image_path(tmp_path / folder, name)


def test_an_absolute_path_below_the_folder_is_one_inside(tmp_path: Path) -> None:
    """The folder and the path may each be written through a link."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a.png").touch()
    (tmp_path / "linked").symlink_to("images")
    (tmp_path / "secret.png").touch()
    (folder / "out.png").symlink_to("../secret.png")
    for root in (folder, tmp_path / "linked"):
        for path in (folder / "sub/a.png", tmp_path / "linked/sub/a.png", folder / "sub/../sub/./a.png"):
            assert resolve_image_path(root, str(path)) == root / "sub/a.png"
        assert resolve_image_path(root, str(folder / "none.png")) == root / "none.png"
        for path in (tmp_path / "secret.png", folder / "../secret.png", tmp_path / "images2/a.png", tmp_path / "linked/../secret.png"):
            with pytest.raises(InputError, match="outside image_dir"):
                resolve_image_path(root, str(path))
        with pytest.raises(InputError, match="link out of image_dir|outside image_dir"):
            resolve_image_path(root, str(folder / "out.png"))


def test_a_relative_image_dir_takes_absolute_paths(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    assert resolve_image_path(Path("images"), str(tmp_path / "images" / "a.png")) == Path("images/a.png")
