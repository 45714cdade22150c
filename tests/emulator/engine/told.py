"""`python -m tests.emulator.engine.told CODE`: runs the code."""

import sys

exec(sys.argv[1])
