"""What the source URI says of the login, and each way to log in."""
