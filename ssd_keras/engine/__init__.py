"""Training, evaluation and prediction: what the command line calls."""
