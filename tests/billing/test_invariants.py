"""The nineteen invariants of metering and money, each with the tests that hold it; one that is gone fails this one.

Those that no other file holds are here.
"""

import ast
import random
from pathlib import Path

import pytest
from django.conf import settings

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Allowance
from moorage.billing import ledger, rater, rounding, wallet_settings, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import BillingMode, GrantKind, LedgerTransaction
from moorage.kernel import clock
from moorage.kernel.money import PICO, PICO_PER_CENT, Money
from tests.billing.gateway_model import Worker
from tests.billing.measured import everything_shipped, price_list
from tests.cast import Cast

TESTS = settings.REPOSITORY / "tests"
HELD_BY: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "Every accepted request is settled exactly once.",
        (
            "faults/test_kills.py::test_whatever_is_killed_every_token_is_billed_once_and_none_too_many",
            "faults/test_money_kills.py::test_whatever_of_the_money_path_is_killed_every_cent_is_there_once",
        ),
    ),
    2: (
        "Billed tokens are at most those delivered.",
        (
            "faults/test_kills.py::test_whatever_is_killed_every_token_is_billed_once_and_none_too_many",
            "faults/test_billing_rule.py::"
            "test_line_04_nobody_pays_for_more_than_was_delivered_and_the_event_is_disputed",
        ),
    ),
    3: (
        "A gateway's crash loses at most a second of tokens, in the customer's favour.",
        (
            "faults/test_kills.py::test_whatever_is_killed_every_token_is_billed_once_and_none_too_many",
            "faults/test_billing_rule.py::test_line_19_a_gateway_that_dies_leaves_its_last_checkpoint",
        ),
    ),
    4: (
        "A repeated Idempotency-Key is billed once, with one request id.",
        (
            "gateway/test_repeated_calls.py::test_a_repeated_call_gets_the_same_bytes_and_the_same_request_id",
            "faults/test_billing_rule.py::test_line_23_a_repeated_call_is_one_request_with_one_event",
        ),
    ),
    5: (
        "What is spent and held never exceeds cap or wallet.",
        (
            "gateway/test_limits_race.py::test_a_thousand_calls_race_for_a_budget_of_137",
            "billing/test_wallet_leases.py::test_a_thousand_calls_race_for_money_for_137",
            "billing/test_money_machine.py::test_whatever_happens_in_whatever_order_the_money_is_kept",
        ),
    ),
    6: (
        "Every ledger transaction sums to zero in each currency.",
        (
            "billing/test_ledger.py::test_the_database_refuses_what_does_not_balance_at_commit",
            "billing/test_ledger.py::test_currencies_do_not_balance_each_other",
            "billing/test_database_roles.py::test_a_check_that_was_called_for_early_is_made_again",
        ),
    ),
    7: (
        "Rows of money are never changed or removed.",
        (
            "billing/test_database_roles.py::"
            "test_whatever_sql_a_process_is_made_to_run_it_cannot_do_what_the_rules_forbid",
            "billing/test_database_roles.py::test_every_table_of_money_is_granted_as_written_down",
            "billing/test_database_roles.py::test_an_entry_that_comes_late_is_refused_even_where_it_balances",
        ),
    ),
    8: (
        "A reversal exists at most once and negates exactly.",
        (
            "billing/test_ledger.py::test_two_who_reverse_at_once_reverse_once",
            "billing/test_ledger.py::test_any_reversal_negates_exactly",
            "billing/test_ledger.py::test_a_reversal_that_is_no_mirror_is_refused_by_the_database",
        ),
    ),
    9: (
        "An amount is tokens times the stored price, exactly.",
        (
            "billing/test_second_biller.py::"
            "test_months_of_two_organizations_come_to_the_same_pico_whatever_the_batches",
            "billing/test_golden_month.py::test_the_golden_month_comes_to_its_known_answer",
        ),
    ),
    10: (
        "No float touches money.",
        (
            "architecture/test_no_float_in_money.py::test_there_is_no_float_in_money",
            "architecture/test_no_float_in_money.py::test_a_float_is_a_type_error_where_money_is_made",
        ),
    ),
    11: (
        "Lines add up to the total, and the total is the published rounding of the exact sum.",
        (
            "billing/test_invariants.py::test_invariant_11_ten_thousand_statements_add_up_and_their_mirrors_cancel",
            "billing/test_credit_notes.py::test_a_whole_mirror_cancels_the_invoice_to_the_pico",
        ),
    ),
    12: (
        "A frozen statement never changes; late usage appears once in the next month.",
        (
            "billing/test_closing.py::test_late_usage_is_charged_once_in_the_next_month_with_a_reference",
            "billing/test_closing.py::test_a_statement_never_changes",
        ),
    ),
    13: (
        "What is pushed to Stripe is the floor of the ledger.",
        (
            "billing/test_meter_export.py::"
            "test_invariant_13_what_was_pushed_is_the_floor_of_the_ledger_though_the_sender_is_killed_fifty_times",
        ),
    ),
    14: (
        "No push is sent again after 20 hours.",
        ("billing/test_meter_export.py::test_invariant_14_nothing_is_sent_again_after_twenty_hours",),
    ),
    15: (
        "No invoice is finalized with unsent usage.",
        ("billing/test_meter_export.py::test_invariant_15_no_invoice_is_finalized_with_unsent_usage",),
    ),
    16: (
        "Webhooks in any order, twice or never come to one end; forged ones change nothing.",
        (
            "billing/test_webhook_orders.py::test_invariant_16_any_order_duplicates_and_gaps_come_to_the_same_end",
            "billing/test_webhook_orders.py::test_invariant_16_forged_stale_and_future_webhooks_change_nothing",
        ),
    ),
    17: (
        "A wallet is the sum of its entries, what is held the sum of live holds; a late settle is fenced.",
        (
            "billing/test_money_machine.py::test_whatever_happens_in_whatever_order_the_money_is_kept",
            "billing/test_wallets.py::test_charges_grants_refunds_and_sweeps_at_once_add_up",
            "billing/test_invariants.py::test_invariant_17_a_worker_that_comes_back_too_late_settles_nothing_twice",
        ),
    ),
    18: (
        "What an engine claims beyond the gateway's count is billed at the lower and said aloud.",
        (
            "faults/test_billing_rule.py::"
            "test_line_04_nobody_pays_for_more_than_was_delivered_and_the_event_is_disputed",
            "faults/test_billing_rule.py::test_line_07_a_running_figure_that_goes_backwards_is_not_believed",
            "faults/test_billing_rule.py::test_line_08_what_cannot_be_a_count_is_ignored",
        ),
    ),
    19: (
        "A customer recomputes the bill offline.",
        (
            "billing/test_verifier.py::test_an_honest_export_is_found_right_by_the_program_alone",
            "billing/test_verifier.py::test_one_changed_digit_anywhere_is_always_found",
        ),
    ),
}


def _tests_in(path: Path) -> dict[str, set[str]]:
    """The tests of a file by name, each with the names in its decorators."""
    return {
        node.name: {each.attr for mark in node.decorator_list for each in ast.walk(mark) if hasattr(each, "attr")}
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_there_are_nineteen() -> None:
    assert list(HELD_BY) == list(range(1, 20))
    assert all(held for _, held in HELD_BY.values())


@pytest.mark.parametrize("number", HELD_BY, ids=lambda number: f"invariant {number}")
def test_each_invariant_is_held_by_tests_that_are_there_and_run(number: int) -> None:
    for name in HELD_BY[number][1]:
        file, _, test = name.partition("::")
        found = _tests_in(TESTS / file) if (TESTS / file).is_file() else {}

        assert test in found, f"{HELD_BY[number][0]} Nothing holds it: {name} is gone."
        assert not found[test] & {"skip", "xfail"}, f"{name} does not run."


def test_invariant_11_ten_thousand_statements_add_up_and_their_mirrors_cancel() -> None:
    chance = random.Random(11)
    for _ in range(10_000):
        exponent = chance.randint(1, 16)
        amounts = [chance.randint(-(10**exponent) // 4, 10**exponent) for _ in range(chance.randint(1, 12))]

        total, shares = rounding.to_cents(amounts)
        mirror, mirrored = rounding.to_cents([-amount for amount in amounts])

        assert sum(shares) == total == Money(sum(amounts)).to_cents()
        assert abs(total * PICO_PER_CENT - sum(amounts)) * 2 <= PICO_PER_CENT
        assert (mirror, mirrored) == (-total, tuple(-share for share in shares))
        if sum(amounts) >= 0:
            assert all(
                abs(share * PICO_PER_CENT - amount) <= PICO_PER_CENT
                for share, amount in zip(shares, amounts, strict=True)
            )


def test_invariant_17_a_worker_that_comes_back_too_late_settles_nothing_twice(committed_cast: Cast) -> None:
    organization = committed_cast.alice.organization
    price_list()
    everything_shipped(clock.now())
    _prepay(committed_cast, 5 * PICO)
    worker, now = Worker(organization_id=organization.id), clock.now()
    worker.report(target=2 * PICO, give=0, now=now)
    assert worker.hold(1_000_000, 600_000)
    worker.capture(worker.holds[0], tokens=1_000_000, pico_per_token=600_000, ended_at=clock.now())
    late = worker.spent
    worker.die(ended_at=clock.now(), tokens=0, pico_per_token=600_000)
    rater.rate_all()
    Worker.reap()
    (before,) = Allowance.objects.filter(subject=organization.id).values_list("used", "leased")

    worker.spent = late
    worker.report(target=0, give=0, now=clock.now())

    (after,) = Allowance.objects.filter(subject=organization.id).values_list("used", "leased")
    assert before == after == (late, 0)
    assert LedgerTransaction.objects.filter(kind="usage").count() == 1
    assert ledger.balance(organization=organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=organization, kind=Account.WALLET) == late - 5 * PICO
    assert ledger.prove().is_clean


def _prepay(cast: Cast, pico: int) -> None:
    organization = cast.alice.organization
    wallet_settings.set_mode(
        organization=organization, mode=BillingMode.PREPAID, reason="They pay first.", by=cast.alice.actor
    )
    wallets.grant(
        organization=organization,
        kind=GrantKind.PAID,
        pico=pico,
        source="paid",
        by=MOORAGE,
        funded_by=Account.MEMORY_CLEARING,
    )
