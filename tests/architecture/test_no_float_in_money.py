"""No float touches money: no float literal, no ``float``, no true division in billing and in the kernel's money."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

PACKAGE = settings.REPOSITORY / "platform" / "moorage"
FILES = [PACKAGE / "kernel" / "money.py", *sorted((PACKAGE / "billing").rglob("*.py"))]


def floats(source: str) -> Iterator[str]:
    """What in ``source`` is, or makes, a float."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=float()):
                yield f"line {line}: the literal {node.value}"
            case ast.Name(id="float") if not isinstance(getattr(node, "ctx", None), ast.Store):
                yield f"line {line}: float"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"line {line}: true division"
            case ast.Attribute(attr="total_seconds" | "timestamp"):
                yield f"line {line}: {node.attr} gives a float"
            case _:
                pass


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_there_is_no_float_in_money(path: Path) -> None:
    source = path.read_text()
    # The one mention that refuses floats.
    allowed = (
        source.replace("isinstance(value, float)", "isinstance(value, int)") if path.name == "pico_field.py" else source
    )

    assert list(floats(allowed)) == []


@pytest.mark.parametrize(
    "source", ["x = 0.1", "x = float(1)", "x = 1 / 2", "x /= 2", "def f(x: float): ...", "d.timestamp()"]
)
def test_the_check_finds_floats(source: str) -> None:
    assert list(floats(source))
