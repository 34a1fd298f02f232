"""Where work is done: here, or on other machines. Runners know no science."""
