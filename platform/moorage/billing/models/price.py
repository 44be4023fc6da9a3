"""The price list: immutable rates of meters, each from a moment on."""

from django.db import models

from moorage.kernel import clock, ids


def new_price_id() -> str:
    """An id for a price."""
    return ids.new("pri")


class Meter(models.TextChoices):
    """What is summed and priced. Input tokens that came from the cache are counted as cached, not twice."""

    INPUT_TOKENS = "input_tokens", "Input tokens"
    CACHED_INPUT_TOKENS = "cached_input_tokens", "Cached input tokens"
    OUTPUT_TOKENS = "output_tokens", "Output tokens"
    REPLICA_SECONDS = "replica_seconds", "Replica seconds"


class Price(models.Model):
    """An immutable rate of a meter from a moment on; a change is a new row.

    ``model`` is a served name or a pattern with ``*``; the most specific match wins, then the latest ``valid_from``.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_price_id, editable=False)
    meter = models.CharField(max_length=32, choices=Meter)
    model = models.CharField(max_length=170, default="*")
    currency = models.CharField(max_length=3, default="USD")
    pico_per_unit = models.BigIntegerField()
    valid_from = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "price"
        constraints = [
            models.UniqueConstraint(fields=["meter", "model", "currency", "valid_from"], name="price_once_a_moment"),
            models.CheckConstraint(condition=models.Q(pico_per_unit__gte=0), name="price_is_not_negative"),
        ]
