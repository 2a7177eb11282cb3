"""Publish a release to the Hub: a plan, one commit, a tag, and a look at what is there.

plan.py      what would be sent, deleted and tagged, and why it may not be
follow.py    versions that were published from another work folder
refuse.py    reasons why a release may not be published, whatever the Hub holds
files.py     the release's files, and those that a loader reads
shown.py     the plan for a person or a program
commit.py    carries a plan out; safe to repeat from wherever it was cut off
compare.py   loads the published dataset in a fresh process and compares its rows
loaded.py    that process
"""

from curation.publish.commit import confirm, publish
from curation.publish.follow import follow
from curation.publish.plan import Plan, plan
from curation.publish.shown import text, told

__all__ = ["Plan", "confirm", "follow", "plan", "publish", "text", "told"]
