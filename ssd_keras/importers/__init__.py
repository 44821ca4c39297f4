"""Importers: models that others trained, one file for each source."""
