"""Intervals, tests, correlation, resampling: one home for all of it."""
