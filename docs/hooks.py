"""What the pages get while they are built: figures, a reference page per package, and equations.

Nothing is fetched when a page is read: equations become MathML here, fonts are the reader's own.
"""

import ast
import html
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "throughtime"
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the reference pages after the guide."""
    pages = [{name: f"reference/{name}.md"} for name in _parts()]
    config.nav = [*(config.nav or []), {"Reference": pages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made here and lies nowhere else."""
    for name, svg in _load("draw").draw().items():
        files.append(File.generated(config, f"figures/{name}", content=svg))
    for name in _parts():
        lines = [f"# throughtime.{name}", ""]
        for module in _modules(name):
            lines += [f"::: {module}", "    options:", f"      members: {_own(module)}", ""]
        text = "\n".join(lines)
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Equations as MathML, which every browser shows by itself."""

    def mathml(found: re.Match[str]) -> str:
        display = "block" if found[1] == "div" else "inline"
        # Two equations on lines of their own arrive as one, the signs between them still there.
        equations = re.split(r"\$\$\s*\$\$", html.unescape(found[2]).strip())
        return "\n".join(convert(equation, display=display) for equation in equations)

    return EQUATION.sub(mathml, content)


def _parts() -> list[str]:
    """Packages and modules with something to say, one reference page each."""
    names = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in _files(SOURCE)}
    return sorted(name for name in names if not name.startswith("_"))


def _modules(part: str) -> list[str]:
    return [
        ".".join(("throughtime", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for path in _files(SOURCE)
        if path.relative_to(SOURCE).parts[0].removesuffix(".py") == part
    ]


def _own(module: str) -> list[str] | str:
    """What a module defines itself; what it gathers from others stands where it is defined."""
    place = SOURCE.parent.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")] or "false"


def _files(folder: Path) -> Iterator[Path]:
    """Modules with a docstring; packages before what is in them."""
    for path in sorted(
        folder.rglob("*.py"), key=lambda p: (p.parent, p.name != "__init__.py", p.name)
    ):
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))):
            yield path


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
