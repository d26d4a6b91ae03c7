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
