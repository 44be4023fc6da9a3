"""``python -m moorage.gateway``: one worker, until SIGTERM or Ctrl-C.

``MOORAGE_GATEWAY_COMPILED`` names a folder in which there may be native code for it (see ``compiled``).
"""

import os
import sys
from pathlib import Path

from moorage.gateway import compiled

if __name__ == "__main__":
    if parent := os.environ.get("MOORAGE_GATEWAY_COMPILED"):
        compiled.use(Path(parent))
    # Not before: it imports what may be native.
    from moorage.gateway.worker import main

    sys.exit(main(os.environ))
