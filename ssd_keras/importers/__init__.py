"""Importers: published detectors and trunks of other frameworks become models of this package."""
