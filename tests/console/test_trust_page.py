"""The page of an organization's trust class: what its containers are started with is an administrator's to say."""

import pytest
from django.test import Client
from pytest_django import Settings

from moorage.accounts.models import AuditEntry
from moorage.fleet import runtime_classes
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of

PAGE = "/admin/organizations/harbour/trust-class"


@pytest.fixture
def ada(cast: Cast, signed_in: SignIn, settings: Settings) -> Client:
    """The administrator's browser, where the operator has named two classes."""
    settings.MOORAGE_RUNTIME_CLASSES = {"default": "runc", "untrusted": "runsc"}
    return signed_in(cast.ada)


def test_a_class_is_chosen_once_and_audited(ada: Client, cast: Cast) -> None:
    page = text_of(ada.get(PAGE))
    assert "untrusted (runsc)" in page and inline_code(page) == []

    for _ in range(2):
        after = text_of(ada.post(PAGE, {"trust_class": "untrusted"}, follow=True))

    assert "started as untrusted" in after and "<dd>untrusted</dd>" in after
    assert runtime_classes.class_of(cast.alice.organization.pk) == "untrusted"
    (entry,) = AuditEntry.objects.filter(action="organization.trust_class_changed")
    assert (entry.detail["from"], entry.detail["to"]) == ("default", "untrusted")


def test_a_class_that_there_is_not_is_refused(ada: Client, cast: Cast) -> None:
    answer = ada.post(PAGE, {"trust_class": "royal"})

    assert answer.status_code == 422 and "royal" in text_of(answer)
    assert runtime_classes.class_of(cast.alice.organization.pk) == "default"


def test_a_class_without_a_runtime_is_an_alarm(ada: Client, cast: Cast, settings: Settings) -> None:
    ada.post(PAGE, {"trust_class": "untrusted"})
    settings.MOORAGE_RUNTIME_CLASSES = {"default": "runc"}

    assert "nothing of it is started" in text_of(ada.get(PAGE))


def test_nobody_else_finds_it(ada: Client, cast: Cast, signed_in: SignIn) -> None:
    for person in (cast.alice, cast.bob, cast.charlie):
        client = signed_in(person.user)
        assert client.get(PAGE).status_code == 404
        assert client.post(PAGE, {"trust_class": "untrusted"}).status_code == 404
    assert runtime_classes.class_of(cast.alice.organization.pk) == "default"
