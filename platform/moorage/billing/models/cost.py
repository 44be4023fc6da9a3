"""What a unit costs us: a device class for a second, a model for a token. Prices can be made of it with a margin."""

from django.db import models

from moorage.billing.models.meter import Meter
from moorage.kernel import clock, currencies, ids


def new_cost_id() -> str:
    """An id for a cost."""
    return ids.new("cost")


class UnitCost(models.Model):
    """What one unit of a meter costs us from a moment on; a change is a new row. The most specific one counts."""

    id = models.CharField(primary_key=True, max_length=40, default=new_cost_id, editable=False)
    meter = models.CharField(max_length=32, choices=Meter)
    #: A served name, or a pattern with ``*``.
    model = models.CharField(max_length=170, default="*")
    #: A device class, or a pattern; empty: any.
    device_class = models.CharField(max_length=80, blank=True, default="")
    currency = models.CharField(max_length=3, default=currencies.USD)
    pico_per_unit = models.BigIntegerField()
    valid_from = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "unit_cost"
        constraints = [
            models.UniqueConstraint(
                fields=["meter", "model", "device_class", "currency", "valid_from"], name="unit_cost_once_a_moment"
            ),
            models.CheckConstraint(condition=models.Q(pico_per_unit__gte=0), name="unit_cost_is_not_negative"),
        ]
