"""Data checks: statistics, findings, fixes and splits of a data set; default boxes that fit it."""
