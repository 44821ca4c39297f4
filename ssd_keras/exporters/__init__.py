"""Exports: what leaves a model as a SavedModel or a TFLite file, suppression inside."""
