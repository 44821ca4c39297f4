"""Feeds damaged and hostile files to the readers of data sets, and judges what the readers do.

    make fuzz
    make fuzz ARGS="--kinds voc coco --count 5000 --seed 7"

Each input ends in one of three ways: accepted (nothing is wrong), reported (by an error or a
problem of one line), or lost (a crash, a hang, another error, a wrong record, access to a file that
the data set does not name). Lost inputs are kept in a folder.

`corpus` writes good data sets, `mutations` damages them, `attacks` holds hand-written hostile data
sets, `judge` runs one input, `pool` runs many in subprocesses.
"""
