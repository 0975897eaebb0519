"""Data: from arrays, files, text and tables to batches.

Tables (`throughtime.data.series`) need polars and are imported by their own name.
"""

from throughtime.data.batches import (
    Batch,
    PaddingReport,
    RaggedBatches,
    Record,
    Source,
    Windows,
    mask_from_lengths,
)
from throughtime.data.corpus import TextParts, read_parts
from throughtime.data.probes import FreshProbes, Probe, adding, copying, first_symbol, parity
from throughtime.data.reading import read_text
from throughtime.data.streams import (
    ArraySource,
    ConcatenatedSource,
    FileSource,
    SlicedSource,
    StepSource,
    Streams,
    split_source,
    to_npy,
)
from throughtime.data.text import (
    Vocabulary,
    encode_documents,
    split_documents,
    split_text,
)

__all__ = [
    "ArraySource",
    "Batch",
    "ConcatenatedSource",
    "FileSource",
    "FreshProbes",
    "PaddingReport",
    "Probe",
    "RaggedBatches",
    "Record",
    "SlicedSource",
    "Source",
    "StepSource",
    "Streams",
    "TextParts",
    "Vocabulary",
    "Windows",
    "adding",
    "copying",
    "encode_documents",
    "first_symbol",
    "mask_from_lengths",
    "parity",
    "read_parts",
    "read_text",
    "split_documents",
    "split_source",
    "split_text",
    "to_npy",
]
