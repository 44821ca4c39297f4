"""Assigners: which default box learns which object."""
