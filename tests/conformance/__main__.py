"""Compare primitives: ``python -m tests.conformance --device`` runs every case on both.

``--device`` runs on the GPU and compares; without it, the digests that were recorded there count.
``--record FILE`` writes digests of what the GPU gave, ``--raw FOLDER`` besides what the first
launches gave, as npz. ``--compile FOLDER`` only compiles the kernels; ``--cubins FOLDER`` uses
them. ``--only TEXT`` takes cases whose names contain it, ``--jobs N`` so many processes.
"""

from __future__ import annotations

import sys

from tests.conformance.run import main

sys.exit(main(sys.argv[1:]))
