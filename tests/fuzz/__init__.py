"""Feeds the readers of data sets with damaged and hostile files, and looks what they make of them.

    make fuzz
    make fuzz ARGS="--kinds voc coco --count 5000 --seed 7"

Every input ends in one of three ways. It is accepted: nothing was wrong. It is told: by an error
or a problem of one line. Or it is lost: a crash, a hang, another error, a wrong record, a file
touched that nobody named. Lost inputs are kept in a folder, to be looked at.

`corpus` writes the data sets that the inputs are made from, `mutations` damages them, `attacks`
has those that somebody thought out, `judge` runs one input, `pool` many in processes of their own.
"""
