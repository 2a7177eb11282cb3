"""Which pictures are the same, in any folder and in the route.

hashing.py     hashes of photos from their bytes; measures.py: contrast, noise
pairs.py       every pair of 64-bit codes within a radius: exact
likeness.py    whether two thumbs show the same picture: a second opinion; tones.py:
               what brightness and contrast cannot explain
pictures.py    what of photos is compared, in little memory
matches.py     which pairs are the same picture; links.py: where to look for them
decision.py    clusters and their keepers, without chains; suggestions
neighbours.py  pairs of embeddings that are nearly parallel
bursts.py      photos of one observer and day that belong together
leaks.py       what another set has too
tables.py      hashes of any set as one file

For anybody's folder: cli.py has the commands and run.py what they do; folder.py lists
and hashes files in the processes of crew.py, compare.py finds what is there twice,
findings.py is that as data, JSON and text, gallery.py as a page; embedding.py asks a
model.
"""
