"""The doctor of a data set: what is in it, what is wrong, and which default boxes suit it."""
