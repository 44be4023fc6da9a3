"""The environment's variables: read with their types, and refused with what to set."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from moorage.config.variables import Variables, database


def test_what_is_set_is_read_and_what_is_not_has_its_default() -> None:
    env = Variables(
        {"NAME": "quay", "EMPTY": "", "SECONDS": "0", "LIST": "a, b,,", "PAIRS": "default=runc, own = runsc"}
    )

    assert [env.text("NAME"), env.text("EMPTY", "x"), env.text("NONE", "")] == ["quay", "x", ""]
    assert [env.whole("SECONDS"), env.whole("EMPTY"), env.whole("NONE")] == [0, None, None]
    assert [env.seconds("SECONDS", 5), env.seconds("NONE", 5)] == [0, 5]
    assert [env.listed("LIST"), env.listed("NONE")] == [("a", "b"), ()]
    assert [env.pairs("PAIRS"), env.pairs("NONE")] == [{"default": "runc", "own": "runsc"}, {}]


def test_a_wrong_value_says_what_to_set() -> None:
    env = Variables({"EMPTY": "", "SECONDS": "soon", "PAIRS": "runc"})

    with pytest.raises(ImproperlyConfigured, match="Set EMPTY in the environment"):
        env.text("EMPTY")
    with pytest.raises(ImproperlyConfigured, match="SECONDS must be a whole number, not 'soon'"):
        env.seconds("SECONDS", 5)
    with pytest.raises(ImproperlyConfigured, match="PAIRS must be a list of name=value"):
        env.pairs("PAIRS")
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must begin with postgresql://, not mysql://"):
        database("mysql://x@localhost/x")


def test_a_database_is_at_a_host_or_in_a_folder_of_sockets() -> None:
    far, near = database("postgresql://me:a%40b@db.example:5433/moor"), database("postgresql://me@/moor?host=/run/pg")

    assert [far[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")] == [
        "db.example",
        "5433",
        "me",
        "a@b",
        "moor",
    ]
    assert [near[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")] == ["/run/pg", "", "me", "", "moor"]
