"""What networks learn from: images, frames of a signal, and a teacher's soft targets.

images.py         labelled images: MNIST, folders of IDX files, splits and subsets
jitter.py         images moved by a few pixels
frames.py         windows of frames, as an acoustic model reads speech
soft_targets.py   a teacher's logits for a data set
idx.py            the file format of MNIST
checks.py         what is checked when data enter, and arrays that stay as they are
"""
