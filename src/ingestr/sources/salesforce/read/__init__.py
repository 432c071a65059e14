"""Rows of one table: by which API, in which partitions, complete or an error."""
