"""The twin behaves as Stripe does where we lean on it."""

import threading
import typing
import urllib.error

import pytest
import stripe

from tests.stripe_twin import forms
from tests.stripe_twin.process import DECLINED_CARD, TwinProcess
from tests.waiting import wait_until


def test_an_unknown_parameter_is_refused_at_any_depth(client: stripe.StripeClient) -> None:
    wrong: list[typing.Any] = [
        {"nmae": "Harbour"},
        {"invoice_settings": {"default_payment_metod": "pm_1"}},
    ]

    for params in wrong:
        with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
            client.v1.customers.create(params)
    line: typing.Any = {"quantity": 1, "price_data": {"currency": "usd", "unit_amonut": 100}}
    with pytest.raises(stripe.InvalidRequestError, match="unit_amonut"):
        client.v1.checkout.sessions.create({"mode": "payment", "success_url": "https://a", "line_items": [line]})


def test_a_missing_parameter_is_refused(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: currency"):
        client.v1.payment_intents.create(typing.cast(typing.Any, {"amount": 100}))


def test_a_key_gives_the_same_answer_for_a_day_a_500_too(client: stripe.StripeClient, twin: TwinProcess) -> None:
    twin.fault("500", "/v1/customers", method="POST")
    options: typing.Any = {"idempotency_key": "k"}

    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.create({"name": "Harbour"}, options)
    twin.control("clock", seconds=24 * 3600 + 1)
    made = client.v1.customers.create({"name": "Harbour"}, options)
    again = client.v1.customers.create({"name": "Harbour"}, options)

    assert made.id == again.id
    assert len(twin.all("customer")) == 1


def test_other_parameters_under_a_known_key_are_an_error(client: stripe.StripeClient) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    client.v1.customers.create({"name": "Harbour"}, options)

    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Island"}, options)


def test_a_validation_failure_is_not_kept_for_its_key(client: stripe.StripeClient) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create(typing.cast(typing.Any, {"nmae": "Harbour"}), options)

    assert client.v1.customers.create({"name": "Harbour"}, options).name == "Harbour"


def test_a_second_call_while_the_first_still_runs_is_a_conflict(client: stripe.StripeClient, twin: TwinProcess) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    twin.fault("latency", "/v1/customers", method="POST", seconds=2)
    first = threading.Thread(target=lambda: client.v1.customers.create({"name": "Harbour"}, options))
    first.start()
    wait_until(lambda: twin.calls("POST", "/v1/customers") != [], seconds=10)

    with pytest.raises(stripe.StripeError) as conflict:
        client.v1.customers.create({"name": "Harbour"}, options)

    first.join()
    assert conflict.value.http_status == 409
    assert len(twin.all("customer")) == 1


def test_a_lost_answer_was_work_that_was_done(client: stripe.StripeClient, twin: TwinProcess) -> None:
    options: typing.Any = {"idempotency_key": "k"}
    twin.fault("drop", "/v1/customers", method="POST")
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.create({"name": "Harbour"}, options)

    made = client.v1.customers.create({"name": "Harbour"}, options)

    assert [one["id"] for one in twin.all("customer")] == [made.id]


def test_an_answer_that_is_cut_off_is_an_error_of_the_connection(
    client: stripe.StripeClient, twin: TwinProcess
) -> None:
    twin.fault("truncated", "/v1/customers", method="POST")

    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"name": "Harbour"})


def test_too_many_requests_say_when_to_come_back(client: stripe.StripeClient, twin: TwinProcess) -> None:
    twin.fault("429", "/v1/customers")

    with pytest.raises(stripe.RateLimitError) as refused:
        client.v1.customers.create({"name": "Harbour"})

    headers: typing.Any = refused.value.headers
    assert headers["Retry-After"] == "1"


def test_a_page_is_paid_once_and_sends_the_customer_back(client: stripe.StripeClient, twin: TwinProcess) -> None:
    customer = client.v1.customers.create({"name": "Harbour"})
    params: typing.Any = {
        "mode": "setup",
        "currency": "usd",
        "customer": customer.id,
        "success_url": "https://a.example/back?page={CHECKOUT_SESSION_ID}",
    }
    session = client.v1.checkout.sessions.create(params)

    back = twin.pay(session.id)

    assert back == f"https://a.example/back?page={session.id}"
    with pytest.raises(urllib.error.HTTPError):
        twin.pay(session.id)
    twin_methods = client.v1.payment_methods.list({"customer": customer.id}).data
    assert [method.card.last4 for method in twin_methods if method.card] == ["4242"]


def test_a_declined_card_leaves_the_page_open(client: stripe.StripeClient, twin: TwinProcess) -> None:
    customer = client.v1.customers.create({"name": "Harbour"})
    line: typing.Any = {
        "quantity": 1,
        "price_data": {"currency": "usd", "unit_amount": 100, "product_data": {"name": "Credit"}},
    }
    session = client.v1.checkout.sessions.create(
        {"mode": "payment", "customer": customer.id, "success_url": "https://a", "line_items": [line]}
    )

    with pytest.raises(urllib.error.HTTPError):
        twin.pay(session.id, card=DECLINED_CARD)
    twin.pay(session.id)

    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_pages_expire_after_a_day(client: stripe.StripeClient, twin: TwinProcess) -> None:
    session = client.v1.checkout.sessions.create({"mode": "setup", "currency": "usd", "success_url": "https://a"})

    twin.control("clock", seconds=24 * 3600)

    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"


def test_lists_come_in_pages(client: stripe.StripeClient) -> None:
    for number in range(5):
        client.v1.customers.create({"name": f"Quay {number}"})

    listed = client.v1.customers.list({"limit": 2})

    assert [one.name for one in listed.auto_paging_iter()] == [f"Quay {number}" for number in (4, 3, 2, 1, 0)]


def test_events_are_delivered_twice_out_of_order_and_not_at_all_by_script(
    client: stripe.StripeClient, twin: TwinProcess
) -> None:
    for number in range(20):
        client.v1.customers.create({"name": f"Quay {number}"})

    plain = twin.planned()
    shuffled = twin.planned(copies=2, lost=30, seed=7)

    assert len(plain) == 20
    assert 20 < len(shuffled) < 40
    assert [payload for payload, _ in shuffled] != sorted(payload for payload, _ in shuffled)
    stripe.Webhook.construct_event(plain[0][0], plain[0][1], "whsec_the_twin_signs_with_this")


def test_nested_forms_are_read_as_they_are_written() -> None:
    assert forms.decoded("a[b][0][c]=1&a[b][1][c]=2&d[]=x&d[]=y&e=") == {
        "a": {"b": [{"c": "1"}, {"c": "2"}]},
        "d": ["x", "y"],
        "e": "",
    }
