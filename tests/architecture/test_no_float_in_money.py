"""No float touches money: no float literal, no ``float``, no true division and no Decimal in billing and in the
kernel's money, in its SQL neither; elsewhere nothing that is called pico or cents is divided or made a float."""

import ast
import datetime as dt
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from django.conf import settings

from moorage.billing import rounding
from moorage.billing.chart import Account
from moorage.billing.ledger import Entry, post
from moorage.billing.pico_field import PicoField
from moorage.kernel.money import Money
from tests.cast import Cast

PACKAGE = settings.REPOSITORY / "platform" / "moorage"
MONEY = PACKAGE / "kernel" / "money.py"
FILES = [MONEY, PACKAGE / "accounts" / "allowances.py", *sorted((PACKAGE / "billing").rglob("*.py"))]
OTHERS = sorted(set(PACKAGE.rglob("*.py")) - set(FILES))
#: Money in the kernel is read and written in decimal digits, with a context that raises where one would be lost.
DECIMAL_ALLOWED = {MONEY}
#: PostgreSQL's floats, and what gives one.
_SQL_FLOAT = re.compile(
    r"::\s*(float\d?|real|double precision)\b|\bdouble precision\b|\bavg\s*\(|\brandom\s*\(\)", re.I
)
_MONEY_NAME = re.compile(r"(^|_)(pico|picos|cents)($|_)")
#: Of the standard library: answers with floats, or rounds by a rule of its own.
_FLOATING = {"math", "statistics", "cmath", "decimal", "fractions"}


def floats(source: str, *, is_decimal_allowed: bool = False) -> Iterator[str]:
    """What in ``source`` is, or makes, a float."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=float() | complex()):
                yield f"line {line}: the literal {node.value}"
            case ast.Constant(value=str(text)) if _SQL_FLOAT.search(text):
                yield f"line {line}: SQL that makes a float"
            case ast.Name(id="float" | "complex" | "round") if not isinstance(getattr(node, "ctx", None), ast.Store):
                yield f"line {line}: {node.id}"
            case ast.BinOp(op=ast.Div()) if not _is_path(node):
                yield f"line {line}: true division"
            case ast.AugAssign(op=ast.Div()):
                yield f"line {line}: true division"
            case ast.Attribute(attr="total_seconds" | "timestamp" | "truediv"):
                yield f"line {line}: {node.attr} gives a float"
            case ast.Import(names=names) if any(name.name.split(".")[0] in _FLOATING for name in names):
                if not is_decimal_allowed:
                    yield f"line {line}: {ast.unparse(node)}"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _FLOATING and not is_decimal_allowed:
                yield f"line {line}: {ast.unparse(node)}"
            case ast.ImportFrom(module="django.db.models", names=names) if any(
                name.name in {"Avg", "FloatField", "StdDev", "Variance"} for name in names
            ):
                yield f"line {line}: {ast.unparse(node)}"
            case _:
                pass


def divided_money(source: str) -> Iterator[str]:
    """Where something that is called pico or cents is divided, or made a float."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.BinOp(op=ast.Div()) if _is_about_money(node):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.AugAssign(op=ast.Div()) if _is_about_money(node):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Call(func=ast.Name(id="float" | "round")) if _is_about_money(node):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case _:
                pass


def _is_path(node: ast.BinOp) -> bool:
    """A place in a directory: the last part is a text."""
    return isinstance(node.right, ast.JoinedStr) or (
        isinstance(node.right, ast.Constant) and isinstance(node.right.value, str)
    )


def _is_about_money(node: ast.AST) -> bool:
    names = (getattr(each, "id", "") or getattr(each, "attr", "") for each in ast.walk(node))
    return any(_MONEY_NAME.search(name) for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_there_is_no_float_in_money(path) -> None:  # type: ignore[no-untyped-def]
    source = path.read_text()
    # The one mention that refuses floats.
    allowed = (
        source.replace("isinstance(value, float)", "isinstance(value, int)") if path.name == "pico_field.py" else source
    )

    assert list(floats(allowed, is_decimal_allowed=path in DECIMAL_ALLOWED)) == []


def test_nobody_else_divides_money_or_makes_it_a_float() -> None:
    found = {str(path.relative_to(PACKAGE)): list(divided_money(path.read_text())) for path in OTHERS}

    assert {path: lines for path, lines in found.items() if lines} == {}


def test_no_template_rounds() -> None:
    templates = sorted((settings.REPOSITORY / "templates").rglob("*.*"))

    assert [path.name for path in templates if re.search(r"floatformat|widthratio|divisibleby", path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.1",
        "x = float(1)",
        "x = 1 / 2",
        "x /= 2",
        "x = pico / cents",
        "x = round(y)",
        "x = 1j",
        "def f(x: float): ...",
        "d.timestamp()",
        "import math",
        "from decimal import Decimal",
        "import decimal as d",
        "from django.db.models import Avg",
        "q = 'SELECT sum(amount)::float FROM t'",
        "q = 'SELECT avg(amount_pico) FROM t'",
    ],
)
def test_the_check_finds_floats(source: str) -> None:
    assert list(floats(source))


@pytest.mark.parametrize("source", ["x = home / 'journal'", "x = 7 // 2", "x = divmod(7, 2)", "q = 'sum(pico)'"])
def test_the_check_leaves_whole_numbers_and_paths(source: str) -> None:
    assert not list(floats(source))


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("x = line.amount_pico / 10", True),
        ("x = float(total_cents)", True),
        ("x = round(pico, 2)", True),
        ("x = seconds / 10", False),
        ("x = pico // 10", False),
        ("x = picoseconds / 2", False),
    ],
)
def test_the_narrower_check_finds_money_that_is_divided(source: str, is_found: bool) -> None:
    assert bool(list(divided_money(source))) is is_found


@pytest.mark.parametrize(
    "deed",
    [
        lambda: Money(0.1),  # type: ignore[arg-type]
        lambda: Money(Decimal(1)),  # type: ignore[arg-type]
        lambda: Money(True),
        lambda: Money.from_decimal(0.1),  # type: ignore[arg-type]
        lambda: PicoField().to_python(0.1),
        lambda: PicoField().get_prep_value(1e3),
        lambda: PicoField().to_python(Decimal("0.5")),
    ],
)
def test_a_float_is_a_type_error_where_money_is_made(deed: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        deed()


@pytest.mark.parametrize("pico", [1.0, Decimal(1), True])
def test_a_float_is_never_posted(cast: Cast, pico: object) -> None:
    entries = [
        Entry(account=account, organization_id=cast.alice.organization.id, pico=amount)  # type: ignore[arg-type]
        for account, amount in ((Account.RECEIVABLE, pico), (Account.ROUNDING, -pico))  # type: ignore[operator]
    ]

    with pytest.raises((TypeError, AssertionError)):
        post(kind="test", idempotency_key="float", entries=entries, effective_at=dt.datetime.now(tz=dt.UTC))


def test_a_float_is_never_rounded_to_cents() -> None:
    with pytest.raises(TypeError):
        rounding.to_cents([1e10])  # type: ignore[list-item]
