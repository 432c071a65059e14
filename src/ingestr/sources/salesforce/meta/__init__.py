"""What the org has: objects, fields, types, deletions, and what a table or a user's query means by them."""
