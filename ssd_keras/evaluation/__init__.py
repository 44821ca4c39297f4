"""What a detector gets wrong, and what that costs.

All of it follows VOC's rule as `ssd_keras.evaluation.voc.voc_metrics` does, so that the numbers add up to
its mAP (`voc12`): a detection looks only at the object of its image and class that it overlaps
most, and counts as true from IoU 0.5 on, once an object. Difficult objects and COCO's crowds need
not be found, and detections on them count neither as true nor as false.
"""
