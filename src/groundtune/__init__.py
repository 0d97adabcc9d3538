"""groundtune: get your own data into a language model, and measure which way works.

Importing the package loads nothing heavy; commands import what they need when they need it. Nothing phones home: the
libraries underneath read these variables when they are first imported, so they stand here, before all of them. A value that
is already set stays.
"""

import os

for _variable in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")

__version__ = "0.1.0"
