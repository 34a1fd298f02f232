"""Projectors between tower and decoder: which there are (`spec`, without torch), their modules, and swapping them."""
