"""Runs of one study side by side: their differences, how they are drawn, and the page that holds both."""
