"""Which combinations are run and which tables they fill."""
