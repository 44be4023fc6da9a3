"""The verifier: a program of its own that finds every lie in an export, offline, and nothing in an honest one."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.accounts.actor import Actor
from moorage.billing import credit_notes, export, rater, verify_statement
from moorage.billing.credit_rules import Part
from moorage.billing.models import Invoice, Statement
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import closed, exported, graduated, invoiced, promise
from tests.billing.measured import NOON, NOVEMBER, price_list, use
from tests.cast import Cast

PROGRAM = Path(verify_statement.__file__)


@pytest.fixture
def invoice(cast: Cast, settings: Any) -> Invoice:
    """A month with several models, tiers, replica time, credit, tax and a credit note."""
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    price_list()
    graduated("demo/graduated", [(0, 0), (1_000, 600_000), (10_000, 500_000)])
    promise(cast.alice, 7 * PICO_PER_CENT + 5)
    for tokens in [(0, 0, 700), (0, 0, 5_000), (0, 0, 6_001)]:
        use(cast.alice.organization, tokens=tokens, served_name="demo/graduated")
    made = invoiced(cast.alice, names=("demo/a", "demo/b"), tokens=(12_345, 2_000, 567_890), seconds=4_321)
    credit_notes.issue(
        invoice=made, reason="A gap.", by=Actor.person(cast.ada), parts=[Part(position=made.lines.count() - 2, cents=3)]
    )
    return made


def run(folder: Path, content: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program alone in an empty folder, without site packages, environment and this repository."""
    (folder / "verify.py").write_bytes(PROGRAM.read_bytes())
    (folder / "export.jsonl").write_bytes(content)
    return subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", "export.jsonl", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={},
        timeout=60,
    )


def lie_in(content: bytes) -> str | None:
    """What the verifier finds, in this process; None: nothing."""
    try:
        for _ in verify_statement.checks(iter(content.splitlines(keepends=True))):
            pass
    except (verify_statement.Lie, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return str(error)
    return None


def resealed(lines: list[Any]) -> bytes:
    """An export of these parsed lines whose hashes all fit: the work of a clever liar."""
    head = dict(lines[0])
    head["sha256"] = hashlib.sha256(head["statement"].encode()).hexdigest()
    if head["invoice"]:
        head["invoice"]["statement"]["sha256"] = head["sha256"]
    body = b"".join(
        json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for one in [head, *lines[1:-1]]
    )
    end = {**lines[-1], "rows": len(lines) - 2, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def test_an_honest_export_is_found_right_by_the_program_alone(invoice: Invoice, tmp_path: Path) -> None:
    done = run(tmp_path, exported(invoice), "--sha256", invoice.statement.sha256)

    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert all(line.startswith("ok  ") for line in said[:-1])
    assert said[-1] == "The bill is right."
    assert any("tiers of 1 graduated prices" in line for line in said)
    assert any(f"with tax {invoice.total_cents}" in line or str(invoice.total_cents) in line for line in said)
    assert any("1 credit notes take back" in line for line in said)
    assert done.stderr == ""


def test_a_hash_that_is_not_the_invoices_is_found(invoice: Invoice, tmp_path: Path) -> None:
    done = run(tmp_path, exported(invoice), "--sha256", "0" * 64)

    assert done.returncode == 1
    assert done.stdout.startswith("LIE ")


def test_a_lie_is_one_line_and_exit_status_1(invoice: Invoice, tmp_path: Path) -> None:
    content = exported(invoice).replace(b'"quantity"', b'"quantitz"', 1)

    done = run(tmp_path, content)

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("LIE ")
    assert "Traceback" not in done.stderr


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_changed_digit_anywhere_is_always_found(invoice: Invoice, data: st.DataObject) -> None:
    content = exported(invoice)
    places = [index for index, byte in enumerate(content) if 48 <= byte <= 57]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([one for one in b"0123456789" if one != content[place]]))

    changed = content[:place] + bytes([digit]) + content[place + 1 :]

    assert lie_in(content) is None
    assert lie_in(changed) is not None


def test_ten_changed_digits_are_found_by_the_program_itself(invoice: Invoice, tmp_path: Path) -> None:
    content = exported(invoice)
    places = [index for index, byte in enumerate(content) if 48 <= byte <= 57]
    for place in places[:: len(places) // 10]:
        other = 48 + (content[place] - 48 + 1) % 10

        done = run(tmp_path, content[:place] + bytes([other]) + content[place + 1 :])

        assert done.returncode == 1, place
        assert done.stdout.splitlines()[-1].startswith("LIE ")


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_liar_who_makes_all_hashes_fit_is_found_by_the_arithmetic(invoice: Invoice, data: st.DataObject) -> None:
    lines = [json.loads(line) for line in exported(invoice).splitlines()]
    row = data.draw(st.sampled_from(range(1, len(lines) - 1)))
    column, by = data.draw(st.sampled_from([5, 6, 7])), data.draw(st.integers(1, 10**9))
    was = lines[row][column]
    lines[row][column] = was + by if column == 5 else str(int(was) + by)

    assert lie_in(resealed(lines)) is not None


@pytest.mark.parametrize(
    ("where", "finding"),
    [
        ("quantity", "pico is not"),
        ("due", "pico due"),
        ("rounding", "pico are"),
        ("share", "largest remainder"),
        ("tax", "VAT on"),
        ("dropped row", "its rows come to"),
        ("row twice", "there twice"),
        ("tier", "other tiers"),
        ("credit note", "its lines come to"),
    ],
)
def test_each_kind_of_lie_is_named(invoice: Invoice, where: str, finding: str) -> None:
    lines = [json.loads(line) for line in exported(invoice).splitlines()]
    statement = json.loads(lines[0]["statement"])
    bill, note = lines[0]["invoice"], lines[0]["credit_notes"][0]
    graduated_line = next(line for line in statement["lines"] if line["price"]["tier"] == 2)
    match where:
        case "quantity":
            statement["lines"][0]["quantity"] += 1
        case "due":
            statement["due_pico"] = str(int(statement["due_pico"]) + 1)
        case "rounding":
            bill["subtotal_cents"] += 1
        case "share":
            bill["lines"][0]["amount_cents"] += 1
            bill["lines"][1]["amount_cents"] -= 1
        case "tax":
            bill["tax"][0]["amount_cents"] += 1
        case "dropped row":
            del lines[1]
        case "row twice":
            lines.insert(1, lines[1])
        case "tier":
            graduated_line["price"]["tiers"][2]["pico_per_unit"] = "1"
        case "credit note":
            note["lines"][0]["amount_cents"] += 1
    lines[0]["statement"] = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert finding in str(lie_in(resealed(lines)))


def test_a_statement_of_the_first_version_is_verified_too() -> None:
    text = (
        '{"currency":"USD","lines":[{"amount":"0.0000018","amount_pico":"1800000","deployment":{"id":"dep_a",'
        '"name":"demo"},"id":"ID","is_late":false,"meter":"output_tokens","price":{"amount":"0.60","id":"pri_a",'
        '"per":"1M tokens","pico_per_unit":"600000"},"quantity":3,"served_name":"demo/llm","sources":1,'
        '"usage_month":"2026-10"}],"organization":{"id":"org_a","name":"Harbour"},"period":"2026-10",'
        '"period_end":"2026-11-01T00:00:00+00:00","period_start":"2026-10-01T00:00:00+00:00","total":"0.0000018",'
        '"total_pico":"1800000","unpriced":[],"version":1}'
    )
    named = hashlib.sha256(b"dep_a\ndemo/llm\noutput_tokens\npri_a\n2026-10").hexdigest()[:16]
    head = {"moorage_export": 1, "statement": text.replace("ID", named), "invoice": None, "credit_notes": []}
    row = ["req_a", 0, named, "output_tokens", "2026-10-15T12:00:00+00:00", 3, "600000", "1800000"]
    content = resealed([{**head, "row": list(export.ROW)}, row, {"amount_pico": "1800000"}])

    assert lie_in(content) is None
    assert lie_in(content.replace(b',3,"600000"', b',4,"600000"')) is not None


def test_late_usage_and_a_minimum_are_verified(cast: Cast) -> None:
    first = invoiced(cast.alice)
    use(cast.alice.organization, tokens=(0, 0, 10), ended_at=NOON)
    use(cast.alice.organization, tokens=(0, 0, 5), ended_at=NOVEMBER.start)

    second = closed(cast.alice, period=NOVEMBER)

    content = exported(second)
    assert lie_in(content) is None
    assert first.statement_id.encode() in content


def test_a_hundred_thousand_rows_are_streamed_and_not_kept(cast: Cast, tmp_path: Path) -> None:
    price_list()
    first = use(cast.alice.organization, tokens=(0, 0, 3))
    rater.rate_all()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rated_usage (source_id, organization_id, deployment_id, revision_id, key_id, served_name,"
            " meter, quantity, price_id, pico_per_unit, tier, part, currency, amount_pico, ended_at, period_start,"
            " rated_at) SELECT 'req_' || lpad(n::text, 26, '0'), organization_id, deployment_id, revision_id, key_id,"
            " served_name, meter, n, price_id, pico_per_unit, tier, part, currency, n * pico_per_unit, ended_at,"
            " period_start, rated_at FROM rated_usage, generate_series(1, 100000) n WHERE source_id = %s",
            [first],
        )
    invoice = closed(cast.alice)
    statement = Statement.objects.select_related("organization").get(pk=invoice.statement_id)

    tracemalloc.start()
    with (tmp_path / "export.jsonl").open("wb") as out:
        out.writelines(export.stream(statement))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    size = (tmp_path / "export.jsonl").stat().st_size
    assert size > 10_000_000
    assert peak < 4_000_000
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM), str(tmp_path / "export.jsonl")], capture_output=True, text=True
    )
    assert "each of 100001 rated rows" in done.stdout
    assert done.returncode == 0, done.stdout
