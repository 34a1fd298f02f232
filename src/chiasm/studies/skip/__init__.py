"""The study `skip`."""
