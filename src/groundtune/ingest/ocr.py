"""Text recognition in pictures of pages, with rapidocr: what a scanned page says, line by line, with boxes.

Both models (PP-OCRv6 small, detection and recognition) lie inside rapidocr's package and are named by their paths, so
that it has nothing to download. The recognition model knows the Latin alphabet
with all accents (English, German, French, Spanish, Polish, Turkish ...), Greek, Chinese and Japanese; no Cyrillic,
Arabic or Hebrew. Leaves out handwriting, and which page to recognise (``loaders/pdf``).
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from functools import cache
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest.pdf_page import is_blank
from groundtune.ingest.pdf_tables import Line

INSTALL = "pip install 'groundtune[ocr]'"
#: seconds spent on recognition for the file that is being read; ``worker`` gives a file that much more time
seconds_spent = 0.0
#: pixels an inch of paper and on a page's longer side: ordinary print is read without fault, and memory stays bounded
DOTS_PER_INCH, MAX_SIDE_PIXELS = 200, 2_400
#: the longer side of the image in which lines are looked for; they are read at full size
_DETECTION_SIDE_PIXELS = 1_280
#: lines read at a time; more take more memory and are no faster on two cores
_BATCH_LINES = 2
_MIN_SCORE = 0.5
#: mean score from which a page is taken to stand upright
_UPRIGHT_SCORE = 0.85
#: heights of lines that differ by less are the same size of type
_SAME_SIZE = 0.25
_MODELS = {
    "Det.model_path": "PP-OCRv6_det_small.onnx",
    "Rec.model_path": "PP-OCRv6_rec_small.onnx",
}


def available() -> bool:
    """True where the extra is installed with its models."""
    return _models() is not None


def recognise(image: Any, points_per_pixel: float = 72 / DOTS_PER_INCH) -> list[Line]:
    """The lines of text in an image of a page, as rapidocr orders them (by height); turned pages are turned upright.

    Args:
        image: numpy array, height x width x 3 (blue, green, red; 8 bits).
        points_per_pixel: for boxes in points.

    Returns:
        Lines of one cell each, y upward from the lower edge of the image as it was read; [] for a blank image.

    Raises:
        InputError: the extra is not installed.
    """
    global seconds_spent
    if is_blank(image):
        return []
    start = time.monotonic()
    try:
        return _recognised(image, points_per_pixel)
    finally:
        seconds_spent += time.monotonic() - start


def _recognised(image: Any, points_per_pixel: float) -> list[Line]:
    import numpy

    found = _run(image)
    if sum(bottom - top > 1.5 * (right - left) for left, top, right, bottom, _, _ in found) * 2 > len(found):
        image = numpy.ascontiguousarray(numpy.rot90(image))
        found = _run(image)
    if found and _mean_score(found) < _UPRIGHT_SCORE:
        turned = numpy.ascontiguousarray(image[::-1, ::-1])
        again = _run(turned)
        if _mean_score(again) * sum(len(f[4]) for f in again) > _mean_score(found) * sum(len(f[4]) for f in found):
            image, found = turned, again
    return _lines([f for f in found if f[5] >= _MIN_SCORE], image.shape[0], points_per_pixel)


_Found = tuple[float, float, float, float, str, float]  # left, top, right, bottom in pixels, text, score


def _run(image: Any) -> list[_Found]:
    result = _engine()(image)
    if getattr(result, "txts", None) is None or result.boxes is None:
        return []
    out: list[_Found] = []
    for corners, text, score in zip(result.boxes, result.txts, result.scores, strict=True):
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        if text.strip():
            out.append((left, top, right, bottom, " ".join(text.split()), float(score)))
    return out


def _mean_score(found: list[_Found]) -> float:
    letters = sum(len(f[4]) for f in found)
    return sum(f[5] * len(f[4]) for f in found) / letters if letters else 0.0


def _lines(found: list[_Found], height: int, scale: float) -> list[Line]:
    sizes = _sizes([bottom - top for _, top, _, bottom, _, _ in found])
    return [
        Line((text,), ((left * scale, right * scale),), (height - (top + bottom) / 2 - size / 2) * scale, size * scale)
        for (left, top, right, bottom, text, _), size in zip(found, sizes, strict=True)
    ]


def _sizes(heights: list[float]) -> list[float]:
    """Heights of boxes, which vary with the letters in them, each as the middle one of those that are about the same."""
    out = list(heights)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    while order:
        group = [i for i in order if heights[i] <= heights[order[0]] * (1 + _SAME_SIZE)]
        for i in group:
            out[i] = max(heights[group[len(group) // 2]], 1.0)
        order = order[len(group) :]
    return out


@cache
def _models() -> Path | None:
    """The folder of rapidocr's models, or None where it or its engine is not installed."""
    found = importlib.util.find_spec("rapidocr") if importlib.util.find_spec("onnxruntime") else None
    folder = Path(found.origin).parent / "models" if found and found.origin else None
    return folder if folder and all((folder / name).is_file() for name in _MODELS.values()) else None


@cache
def _engine() -> Any:
    """The recogniser, built once a process: its models take half a second to load and 200 MB."""
    folder = _models()
    if folder is None:
        raise InputError("text recognition is not installed", expected="the extra `ocr`", next_step=INSTALL)
    rapidocr: Any = importlib.import_module("rapidocr")
    return rapidocr.RapidOCR(
        params={
            **{key: str(folder / name) for key, name in _MODELS.items()},
            "Global.log_level": "critical",
            "Global.use_cls": False,  # pages are turned as a whole; line by line it now and then turns a right one
            "Global.max_side_len": MAX_SIDE_PIXELS,
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECTION_SIDE_PIXELS,
            "Rec.rec_batch_num": _BATCH_LINES,
        }
    )
