"""Pushes the record batches of a Salesforce object into PostgreSQL with ADBC: what one would do with ``ingestr.read``.

Arguments: the source URI, the table, and the database's URI.
"""

import sys

import adbc_driver_postgresql.dbapi

import ingestr


def main(source_uri: str, table: str, uri: str) -> None:
    """Load all rows into ``public.t``."""
    with ingestr.read(source_uri, table) as stream, adbc_driver_postgresql.dbapi.connect(uri) as connection:
        with connection.cursor() as cursor:
            cursor.adbc_ingest("t", stream.reader(), mode="create")
        connection.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
