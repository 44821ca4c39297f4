"""Files, terminal, text, names: what knows nothing of models or data sets."""
