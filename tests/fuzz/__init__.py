"""Feeds damaged and hostile files to what reads them, and judges what that does.

    make fuzz
    make fuzz ARGS="--kinds voc coco --count 5000 --seed 7"

Each input ends in one of three ways: accepted (nothing is wrong), reported (by an error or a
problem of one line), or lost (a crash, a hang, an error of another library, a wrong record or
number, access to a file that the input does not name). Lost inputs are kept in a folder.

`corpus` writes good data sets, `user_files` other files that users get: images, detections,
recipes, label maps, runs, models. `mutations` damages them, `attacks` holds hand-written hostile
data sets, `judge` runs one input, `pool` runs many in subprocesses.
"""
