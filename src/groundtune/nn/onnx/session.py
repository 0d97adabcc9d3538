"""How onnxruntime runs the graphs of this folder: on the CPU, quietly, on as many threads as ``OMP_NUM_THREADS`` says."""

from __future__ import annotations

import os
from typing import Any


def open_session(model: bytes) -> Any:
    """A session of an ONNX model."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0").partition(",")[0] or 0)
    options.inter_op_num_threads = 1
    # long enough for the next operator, and short: beside a busy program a thread that waits spinning makes all crawl
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
