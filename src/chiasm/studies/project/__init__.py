"""The study `project`."""
