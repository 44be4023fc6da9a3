"""A database column for money: whole pico-units, exact in PostgreSQL and in Python."""

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from django.db.models.expressions import Combinable


class PicoField(models.DecimalField):
    """A whole number of pico-units: ``numeric(38,0)`` in PostgreSQL, ``int`` in Python."""

    if TYPE_CHECKING:  # what the stubs of Django ask a field for
        _pyi_private_set_type: int | Combinable
        _pyi_private_get_type: int  # type: ignore[assignment]

    def __init__(self, **options: object) -> None:
        options.update(max_digits=38, decimal_places=0)
        super().__init__(**options)  # type: ignore[arg-type]

    def from_db_value(self, value: object, _expression: object, _connection: object) -> int | None:
        """Decimal to int."""
        return None if value is None else int(value)  # type: ignore[call-overload]

    def to_python(self, value: object) -> int | None:
        """Anything whole to int; floats are refused, and so is whatever has a part of a pico-unit."""
        if isinstance(value, float):
            raise TypeError("money is a whole number of pico-units, not float")
        whole: int | None = None if value is None else int(value)  # type: ignore[call-overload]
        if whole is not None and not isinstance(value, str) and whole != value:
            raise TypeError(f"money is a whole number of pico-units, not {value}")
        return whole

    def get_prep_value(self, value: object) -> object:
        """int to Decimal for the driver."""
        number = self.to_python(value)
        return super().get_prep_value(number)

    def deconstruct(self) -> tuple[str, str, list[object], dict[str, object]]:
        """Migrations name the field without the digits it fixes."""
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_digits", None)
        kwargs.pop("decimal_places", None)
        return name, path, list(args), kwargs
