"""``python -m agentexchange_bridge``: the ``agentexchange`` command where its script is not on the path."""

import sys

from .cli import main

sys.exit(main())
