"""What ``.importlinter`` must name; the contracts themselves are part of ``make check``."""

from configparser import ConfigParser
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def test_every_repository_is_private_to_its_package() -> None:
    configuration = ConfigParser()
    configuration.read(ROOT / ".importlinter", encoding="utf-8")
    owners = {
        section["protected_modules"].strip(): section["allowed_importers"].strip()
        for section in map(configuration.__getitem__, configuration.sections())
        if section.get("type") == "protected"
    }
    packages = {
        ".".join(path.parent.relative_to(ROOT / "src").parts)
        for path in (ROOT / "src").rglob("repository.py")
    }
    assert owners == {f"{package}.repository": package for package in packages}
