"""SOQL: from text to a tree (`parser`), from the tree to DuckDB SQL (`translator`); knows no HTTP."""
