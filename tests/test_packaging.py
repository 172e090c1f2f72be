"""The checkout's layout, its links and the package list in pyproject.toml say the same thing."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_folder_is_listed() -> None:
    found: set[str] = set()
    for package, top in SETUPTOOLS["package-dir"].items():
        base = ROOT / top
        found.add(package)
        for init in base.rglob("__init__.py"):
            relative = init.parent.relative_to(base)
            if top == "edgec" and relative.parts and (base / relative.parts[0]).is_symlink():
                continue  # reached through the links, listed under their own tops
            found.add(".".join((package, *relative.parts)))
    assert set(SETUPTOOLS["packages"]) == found


def test_links_point_where_the_mapping_says() -> None:
    links = {f"edgec.{p.name}": p.resolve().name for p in (ROOT / "edgec").iterdir() if p.is_symlink()}
    assert {"edgec": "edgec", **links} == SETUPTOOLS["package-dir"]
