"""Importers: trained weights of other projects become models of ours, one file for each source."""
