"""How money is collected from an organization: its saved payment method, and what dunning has done."""

from django.db import models

from moorage.accounts.models import Organization


class Collection(models.Model):
    """One row an organization that has a saved method or was dunned. The card itself is with the provider alone."""

    organization = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.PROTECT, related_name="collection"
    )
    #: The provider's reference of the saved method; empty: none.
    method_reference = models.CharField(max_length=120, blank=True, default="")
    method_brand = models.CharField(max_length=40, blank=True, default="")
    method_last4 = models.CharField(max_length=4, blank=True, default="")
    #: YYYY-MM of a card, empty for what does not expire.
    method_expires = models.CharField(max_length=7, blank=True, default="")
    #: Invoices are taken from the saved method instead of being sent.
    is_charged_automatically = models.BooleanField(default=False)
    #: The standing that dunning has set and has not taken back; empty: none. Another's is never touched.
    dunned_standing = models.CharField(max_length=16, blank=True, default="")

    class Meta:
        db_table = "collection"
