"""The dataset report: one HTML page that needs no network, and its figures as files.

`build` is all there is to call. Inside: `facts` holds what the report is about, `album`
makes small pictures within a budget, `cards` says what is known of a photo; one module
per part of the page turns tables into what its template shows (`drops`, `scores`,
`review`, `people`, `origins`, `known`); `charts` does the arithmetic of the figures in
the page, `figures` draws the saved ones with matplotlib, and `page` puts all together.
"""

from curation.reports.page import build

__all__ = ["build"]
