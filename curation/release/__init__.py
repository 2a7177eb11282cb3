"""The release: a folder that `datasets.load_dataset` opens, and what it states.

README.md                       data card; every number in it is computed
data/common-00000-of-0000N.parquet, data/counter-…      config `default`: the photos
pairs/test-00000-of-00001.parquet                       config `pairs`: the classes
LICENSES.csv                    licence, author, source and changes of each photo
provenance.json                 configuration, recipes, versions; no times
checksums.sha256                of all the others, as `sha256sum -c` reads it
"""

from curation.release.facts import Facts
from curation.release.folders import export_folders
from curation.release.write import verify, write

__all__ = ["Facts", "export_folders", "verify", "write"]
