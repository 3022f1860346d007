"""List a folder as the store does, with the filter that every target has: scan.py FOLDER."""

import gc
import sys

from trueup.engine.filter import DEFAULT_EXCLUDES, PatternFilter
from trueup.stores.file.scan import Scan

gc.set_threshold(100_000)  # as the engine does while it walks
print(sum(len(batch) for batch in Scan(sys.argv[1], PatternFilter(exclude=DEFAULT_EXCLUDES)).batches()))
