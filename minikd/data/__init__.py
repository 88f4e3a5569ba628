"""What networks learn from: images, frames of a signal, and a teacher's soft targets.

load.py           your own data: .npz files, folders of IDX files, folders of pictures
images.py         images: MNIST, folders of IDX files, splits and subsets
jitter.py         images moved by a few pixels
frames.py         windows of frames, as an acoustic model reads speech
inputs.py         what a network reads of an example: pixels, or standardised features
classes.py        classes from labels, numbers or words
soft_targets.py   a teacher's logits for a data set
idx.py            the file format of MNIST
npz.py            arrays from an .npz file that anybody may have made
pictures.py       folders of PNG and JPEG files
checks.py         what is checked when data enter, and arrays that stay as they are
"""
