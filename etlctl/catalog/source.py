"""A component's source file read as a syntax tree, so that nothing of it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from etlctl.errors import CatalogError
from etlctl.frozen import frozen


@frozen
class SourceFile:
    """The names a Python file defines at its top level.

    Attributes:
        path: The file.
        module_doc: Docstring of the module.
        imports: Local name to the dotted name it was imported from.
        classes: Classes by name, in order.
        constants: Other names to the expression they were last set to.
    """

    path: Path
    module_doc: str
    imports: dict[str, str] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)

    @classmethod
    def parse(cls, path: Path) -> SourceFile:
        """Read a file.

        Raises:
            CatalogError: It cannot be read or is not Python; the message names file and line.
        """
        try:
            tree = ast.parse(path.read_bytes(), filename=str(path))
        except SyntaxError as error:
            raise syntax_problem(path, error) from error
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            raise CatalogError(f"{path} cannot be read as a component: {error}") from error
        source = cls(path, ast.get_docstring(tree) or "")
        for statement in _top_level(tree.body):
            source._note(statement)
        return source

    def _note(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                self.imports[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(statement, ast.ImportFrom):
            origin = "." * statement.level + (statement.module or "")
            self.imports.update({alias.asname or alias.name: f"{origin}.{alias.name}" for alias in statement.names})
        elif isinstance(statement, ast.ClassDef):
            self.classes[statement.name] = statement
        else:
            self._note_constant(statement)

    def _note_constant(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    self.constants[target.id] = statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            self.constants[statement.target.id] = statement.value
        elif type(statement).__name__ == "TypeAlias":  # ``type X = …`` of Python 3.12, unknown to 3.11's ast
            self.constants[statement.name.id] = statement.value  # type: ignore[attr-defined]

    def dotted(self, node: ast.expr) -> str | None:
        """Return the full dotted name an expression stands for, following imports; None when it is no plain name."""
        if isinstance(node, ast.Name):
            return self.imports.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else None
        return None

    def bases(self, node: ast.ClassDef) -> Iterator[str]:
        """Return the dotted names of a class's bases; an unreadable one gives ``?``."""
        for base in node.bases:
            inner = base.value if isinstance(base, ast.Subscript) else base
            yield self.dotted(inner) or "?"


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those inside ``if`` and ``try`` (guarded imports) included."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _top_level(statement.body)
            yield from _top_level(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _top_level(statement.body)
            for handler in statement.handlers:
                yield from _top_level(handler.body)
            yield from _top_level(statement.orelse)
        else:
            yield statement


def syntax_problem(path: Path | str, error: SyntaxError) -> CatalogError:
    """Return the error for a file that is not valid Python."""
    where = f"{error.filename or path}:{error.lineno}" if error.lineno else f"{path}"
    line = f": {error.text.strip()}" if error.text and error.text.strip() else ""
    return CatalogError(f"{where}: not valid Python: {error.msg}{line}", help="mend the line, then try again")


def field_docs(node: ast.ClassDef) -> dict[str, str]:
    """Return the string under each annotated field of a class, on one line."""
    docs: dict[str, str] = {}
    for statement, following in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = following.value.value
            if isinstance(text, str):
                docs[statement.target.id] = " ".join(text.split())
    return docs


def class_doc(node: ast.ClassDef) -> tuple[str, str]:
    """Return the summary (first paragraph, on one line) and the rest of a class docstring."""
    return split_doc(ast.get_docstring(node) or "")


def split_doc(text: str) -> tuple[str, str]:
    """Split a cleaned docstring into its first paragraph, on one line, and the rest."""
    summary, _, rest = text.partition("\n\n")
    return " ".join(summary.split()), rest.strip()


def class_value(node: ast.ClassDef, name: str) -> ast.expr | None:
    """Return the expression that a class sets one of its names to, annotated or not."""
    for statement in node.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    return None
