"""`python -m job`: the command line."""

from __future__ import annotations

import sys

from ._program.cli import main

sys.exit(main())
