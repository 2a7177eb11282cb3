"""Which pictures are the same, in any folder and in the route.

hashing.py    hashes and simple measures of a photo's pixels
pairs.py      every pair of 64-bit codes within a radius: exact
likeness.py   whether two thumbs show the same picture: a second opinion
"""
