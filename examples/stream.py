"""Go through a split without downloading it first, and count its licences.

python examples/stream.py RELEASE   (a folder, or a dataset's name on the Hub)

Read a stream to its end. With some versions of pyarrow, a process that exits while a
Parquet stream is half read is aborted, or never ends. For a few photos, ask for a slice
without streaming: `load_dataset(name, split="common[:10]")`.
"""

import sys
from collections import Counter

from datasets import load_dataset

photos = load_dataset(  # of the other columns, photos among them, nothing is read
    sys.argv[1], split="common", streaming=True, columns=["licence", "author"]
)
for licence, count in Counter(row["licence"] for row in photos).most_common():
    print(f"{count:6} {licence}")
