"""Samples a chat dataset: exact, checked, reproducible, named by its content, in memory that does not grow with it.

`parameters`, `results` and `errors` are light. The other modules import polars and pyarrow, so import them where they are used.
"""

import os
import sys

# Batches are small: waking polars' threads for each costs a fifth more CPU than it saves. Polars reads this once, when it is
# imported, and nothing else in the flow uses polars.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

# Arrow's usual pool, mimalloc, keeps what was freed: a fifth more memory at the peak. Read once, too, when memory is first needed.
# Jemalloc takes a tenth less CPU than the system's, and comes with pyarrow on Linux.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc" if sys.platform == "linux" else "system")
