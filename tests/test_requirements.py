"""What the package imports, it requires, with a lowest version (`.ci/lowest` installs those)."""

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Looked for where they are used, and said to be absent: on a Space only, for one benchmark, or in an extra.
OPTIONAL = {"spaces", "kornia", "openvino", "skimage", "imagehash", "playwright", "axe_playwright_python"}
STANDARD = sys.stdlib_module_names | {"brainmri", "benchmarks"}


def required() -> dict[str, Requirement]:
    """The lines of requirements.txt by their normal names."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


def imported() -> dict[str, str]:
    """Each module of other packages that the source imports, anywhere, and a file that does."""
    found: dict[str, str] = {}
    for path in [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "scripts").glob("*.py"),
        *(ROOT / "benchmarks").glob("*.py"),
        ROOT / "app.py",
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0]: path.relative_to(ROOT).as_posix() for name in names}
    return found


def test_what_is_imported_is_required() -> None:
    packages = metadata.packages_distributions()
    known = set(required()) | {"gradio-client"}  # gradio pins the very version that it goes with
    undeclared = {
        f"{module} ({path})"
        for module, path in imported().items()
        if module not in STANDARD | OPTIONAL
        and not {canonicalize_name(name) for name in packages.get(module, [])} & known
    }
    assert not undeclared


def test_every_requirement_has_a_lowest_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [Requirement(one) for lines in project["optional-dependencies"].values() for one in lines]
    for one in [*required().values(), *(extra for extra in extras if extra.name != project["name"])]:
        assert any(part.operator in (">=", "==") for part in one.specifier), f"{one} has no lowest version"
