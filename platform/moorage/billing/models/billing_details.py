"""To whom an organization's invoices are made out."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.kernel import clock


class BillingDetails(models.Model):
    """What stands on the organization's next invoices; those that have a number keep what stood then."""

    organization = models.OneToOneField(
        Organization, on_delete=models.PROTECT, primary_key=True, related_name="billing_details"
    )
    legal_name = models.CharField(max_length=160, blank=True, default="")
    #: At most six lines.
    address = models.TextField(blank=True, default="")
    #: ISO 3166, two letters; empty: not said.
    country = models.CharField(max_length=2, blank=True, default="")
    tax_id = models.CharField(max_length=40, blank=True, default="")
    #: Where invoices go; empty: to the first owner.
    email = models.EmailField(blank=True, default="")
    updated_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "billing_details"
