"""The source of several modules as one file that needs torch alone.

Of each module only those definitions are taken that a piece of code uses, directly or indirectly.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import symtable
import sys
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import resolve_name
from typing import Any, NamedTuple

from smash.errors import InvalidValueError

ADVICE = "export it as .onnx or .safetensors"

_FOR_LINTERS = re.compile(r"  # (type: ignore\[[^\]]*\]|noqa(: [A-Z]+\d+(, [A-Z]+\d+)*)?)")


class NetworkSource(NamedTuple):
    """The source of a network, and the code that builds it.

    Attributes:
        modules: Source of modules by name, each after those that it imports from.
        network: Name of the class or function that builds the network.
        arguments: Its keyword arguments; the `repr` of each is the code that makes it.

    Example:
        >>> code = "def network(width): return width"
        >>> source = NetworkSource({"mine": code}, "network", {"width": 8})
        >>> print(gather(source.modules, source.network, own="")[1])
        # From mine.
        def network(width): return width
    """

    modules: Mapping[str, str]
    network: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Statement:
    """A statement at the top level of a module, or the part of an import that binds one name.

    Attributes:
        module: Name of the module.
        text: Its code, with comments and empty lines above it.
        binds: Names that it binds.
        needs: Names of the top level that it uses when it runs.
        annotations: Names that only its annotations use, which are never evaluated.
        foreign: A module that it imports which is neither torch's nor of the standard library.
    """

    module: str
    text: str
    binds: frozenset[str]
    needs: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    foreign: str = ""

    @property
    def is_import(self) -> bool:
        return self.text.startswith(("import ", "from "))


def source_of(module: str) -> str:
    """Reads the source of a module.

    Raises:
        InvalidValueError: It has no source, as in a notebook.
    """
    try:
        return inspect.getsource(importlib.import_module(module))
    except (OSError, TypeError):
        raise InvalidValueError(
            f"module {module!r} has no source file: define the network in a file, or {ADVICE}"
        ) from None


def gather(sources: Mapping[str, str], code: str, own: str) -> tuple[str, str]:
    """Gathers the definitions that a piece of code uses of several modules.

    Args:
        sources: Source of the modules by name, each after those that it imports from.
        code: The code, in which names of these modules occur.
        own: Statements of the file itself: imports that it needs, and names that it defines.

    Returns:
        The imports, and the definitions in the order of the modules.

    Raises:
        InvalidValueError: Another package is used, or a name has two meanings.
    """
    known: dict[str, list[_Statement]] = {}
    statements = list(_statements("the exported file itself", own, ()))
    kept = {each for each in statements if each.is_import}
    for module, text in sources.items():
        statements += _statements(module, text, sources)
    for statement in statements:
        for name in statement.binds:
            known.setdefault(name, []).append(statement)
    waiting = list(_analyse(code)[1])
    while waiting:
        name = waiting.pop()
        found = known.get(name, [])
        if len({each.text if each.is_import else each.module for each in found}) > 1:
            places = " and in ".join(dict.fromkeys(each.module for each in found))
            raise InvalidValueError(
                f"{name!r} has different meanings in {places}: rename one of them, or {ADVICE}"
            )
        for statement in found:
            if statement.foreign:
                raise InvalidValueError(
                    f"{statement.module} uses {name!r} of {statement.foreign!r}, and a .py must "
                    f"need torch alone: do without it, or {ADVICE}"
                )
            if statement not in kept:
                kept.add(statement)
                waiting += statement.needs
                for each in statement.annotations:  # Taken along where that needs nothing else.
                    if not any(other.foreign or other.needs for other in known.get(each, [])):
                        waiting.append(each)
    imports = sorted({each.text for each in kept if each.is_import})
    parts = []
    for module in sources:
        of_module = [each for each in statements if each in kept and each.module == module]
        if texts := [each.text for each in of_module if not each.is_import]:
            parts.append("\n".join([f"# From {module}.", *texts]))
    return "\n".join(imports), "\n\n\n".join(parts)


def _statements(module: str, source: str, siblings: Container[str]) -> Iterator[_Statement]:
    """Gives the statements of a module that bind names, without imports from `siblings`."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, module, siblings)
            continue
        first = min(each.lineno for each in [node, *getattr(node, "decorator_list", [])]) - 1
        while first and lines[first - 1].partition("#")[0] == "":
            first -= 1  # Comments and empty lines above it.
        text = _FOR_LINTERS.sub("", "\n".join(lines[first : node.end_lineno]))
        yield _Statement(module, text, *_analyse(text))


def _imported(
    node: ast.Import | ast.ImportFrom, module: str, siblings: Container[str]
) -> Iterator[_Statement]:
    """Gives the parts of an import that bind one name each."""
    for alias in node.names:
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            source, text = alias.name, f"import {alias.name}{renamed}"
            bound = alias.asname or alias.name.partition(".")[0]
        else:
            package = sys.modules[module].__package__ if node.level else None
            source = resolve_name("." * node.level + (node.module or ""), package)
            text, bound = f"from {source} import {alias.name}{renamed}", alias.asname or alias.name
        value = getattr(sys.modules.get(source), alias.name, None)
        home = getattr(value, "__module__", source)  # A package may import it from elsewhere.
        if source == "__future__" or (home in siblings and bound == alias.name):
            continue
        root = source.partition(".")[0]
        foreign = "" if root == "torch" or root in sys.stdlib_module_names else source
        yield _Statement(module, text, frozenset({bound}), foreign=foreign)


def _analyse(code: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Finds the names that code binds, those that it uses, and those in annotations alone."""
    tables = [symtable.symtable(f"from __future__ import annotations\n{code}", "source", "exec")]
    binds = {each.get_name() for each in tables[0].get_symbols() if each.is_assigned()}
    needs = set()
    for table in tables:
        tables += table.get_children()
        needs |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
        }
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    return frozenset(binds), frozenset(needs), frozenset(names - needs)
