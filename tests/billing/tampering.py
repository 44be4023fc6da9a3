"""What somebody with the keys of the database could do to the books: past its rights and triggers."""

from django.db import connection


def tamper(sql: str, *parameters: object) -> None:
    """Executes one statement as the owner, with no trigger in the way, within the present transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        role = str(cursor.fetchone()[0])
        cursor.execute("RESET ROLE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin")
        cursor.execute(f'SET ROLE "{role}"')
