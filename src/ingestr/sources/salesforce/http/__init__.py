"""HTTP to one org: connections, repeating, signing, and what an answer must look like. Knows nothing of tables."""
