"""Which stream a handle means, across reuse of handles, threads and graph captures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moedsl.backends.cuda.driver import check

if TYPE_CHECKING:
    from collections.abc import Hashable

LEGACY_STREAM = 1
"""The legacy default stream of the current context, as is 0 where nobody asked for another."""

PER_THREAD_STREAM = 2
"""The default stream of the current context that belongs to the calling thread."""

LEGACY: Hashable = "legacy"
"""Identity of the legacy default stream, which lives as long as its context, never captured."""


def identify(cuda: Any, stream: Any) -> tuple[Hashable, bool]:
    """What tells a ``CUstream`` of the current device from all others, and whether it is captured.

    The identity of a stream under capture holds for that capture alone: its work runs where and
    when the graph is replayed. RuntimeError if the driver knows no such stream.
    """
    # `check` would take as long as the calls: many launches come through here.
    failed, recording = cuda.cuStreamIsCapturing(stream)
    if failed:
        check((failed,))
    if recording != cuda.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE:
        _, _, capture, *_ = cuda.cuStreamGetCaptureInfo(stream)
        return (int(stream), int(capture)), True
    # A handle may be reused, or (per-thread default) mean another stream in each thread.
    failed, identity = cuda.cuStreamGetId(stream)
    if failed:
        check((failed,))
    return identity, False
