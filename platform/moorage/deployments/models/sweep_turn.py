"""Whose turn it is to sweep: one row a periodic task."""

from django.db import models


class SweepTurn(models.Model):
    """When a periodic task was begun last, by the database's clock, and until when whoever began it is waited for."""

    name = models.CharField(primary_key=True, max_length=120)
    begun_at = models.DateTimeField()
    #: None: nobody is at it.
    held_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "sweep_turn"

    def __str__(self) -> str:
        return self.name
