"""The price list: immutable rates of meters, each from a moment on, and how much of a graduated one is used up."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.models.cost import UnitCost
from moorage.billing.models.meter import Meter, ReplicaState
from moorage.kernel import clock, currencies, ids


def new_price_id() -> str:
    """An id for a price."""
    return ids.new("pri")


class Price(models.Model):
    """An immutable rate of a meter, for ``[valid_from, valid_to)``; a change is a new row.

    Its *scope* is what it prices: meter, model, organization, replica state and device class. Of the prices that fit,
    an organization's own wins, then the most specific model, then device class, then state; within a scope the latest
    that has begun. A row begins where the one before it in its scope ends; one whose ``valid_to`` is its ``valid_from``
    is never in force and only ends the one before it.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_price_id, editable=False)
    meter = models.CharField(max_length=32, choices=Meter)
    #: A served name, or a pattern with ``*``.
    model = models.CharField(max_length=170, default="*")
    #: Whose negotiated price it is; null: everybody's.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, blank=True, related_name="negotiated_prices"
    )
    #: Of replica seconds: in which state; empty: any in which it can answer (idle, busy).
    state = models.CharField(max_length=16, choices=ReplicaState, blank=True, default="")
    #: Of replica seconds: on which devices, a name or a pattern; empty: any.
    device_class = models.CharField(max_length=80, blank=True, default="")
    #: Of a negotiated price the organization's; a foreign key sees to it. Whoever pays in another is not reached by it.
    currency = models.CharField(max_length=3, default=currencies.USD)
    #: The rate; of a graduated price the dearest one, which is what a hold reckons with.
    pico_per_unit = models.BigIntegerField()
    #: ``[{"from": units, "pico": rate}, …]``: from which quantity of an organization's month on. Empty: one rate.
    tiers = models.JSONField(default=list, blank=True)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    #: Where it was made as a margin over a cost.
    cost = models.ForeignKey(UnitCost, on_delete=models.PROTECT, null=True, blank=True, related_name="prices")
    margin_basis_points = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "price"
        constraints = [
            models.UniqueConstraint(
                fields=["meter", "model", "organization", "state", "device_class", "currency", "valid_from"],
                name="price_once_a_moment_and_scope",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=models.Q(pico_per_unit__gte=0), name="price_is_not_negative"),
            models.CheckConstraint(
                condition=models.Q(valid_to=None) | models.Q(valid_to__gte=models.F("valid_from")),
                name="price_ends_after_it_begins",
            ),
        ]


class PriceCounter(models.Model):
    """How many units of a graduated price an organization has used in a month, as far as they are rated."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.CharField(max_length=40)
    price_id = models.CharField(max_length=40)
    #: The beginning of the month in which the usage ended.
    month_start = models.DateTimeField()
    quantity = models.BigIntegerField()

    class Meta:
        db_table = "price_counter"
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "price_id", "month_start"], name="price_counter_once_a_month"
            ),
        ]
