"""``python -m agentexchange_bridge.cli``: the same command where scripts are not on the path."""

from __future__ import annotations

import sys

from . import main

sys.exit(main())
