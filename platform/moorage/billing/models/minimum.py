"""The least that an organization pays in a month, whatever it uses."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_minimum_id() -> str:
    """An id for a minimum commitment."""
    return ids.new("min")


class MinimumCommitment(models.Model):
    """From this month on an organization pays at least so much a month; zero ends it. A change is a new row."""

    id = models.CharField(primary_key=True, max_length=40, default=new_minimum_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="minimum_commitments")
    pico = PicoField()
    #: The beginning of the first month that it holds for.
    period_start = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "minimum_commitment"
        constraints = [
            models.CheckConstraint(condition=models.Q(pico__gte=0), name="minimum_commitment_is_not_negative"),
        ]
