"""Builders: a file for each family, with the numbers of its paper."""
