"""Emitted CUDA C on the CPU: every CUDA thread a fiber, every access checked.

``unit`` turns what the cuda backend emits into C++, ``toolchain`` compiles it, ``process`` runs one
launch in a process of its own, ``report`` says what was found. ``runtime`` is that process: fibers
and their order, memory and who may touch it when, and a model of every primitive that the prelude
has, down to its encodings: descriptors, swizzles, boxes, phases. ``prelude`` is the primitives'
host half. A primitive's model says what PTX says; what an H200 has confirmed bit for bit is listed
by ``python -m tests.conformance``, everything else is modelled only.

Checked in every launch: bounds with the buffer's name, alignment, writes to inputs, elements
written twice, memory and accumulators nobody has set, copies and products nobody has waited for,
divergence, barrier counts, mbarrier counts, phases and bytes, what is unfinished at the end,
deadlock, global memory touched before the launch before has ended. With ``races`` besides: accesses
that nothing orders, in shared and in global memory, in the generic and the async proxy, and
numbered barriers used again too early. Reports name the roles that a kernel gives its threads with
``role``. Not modelled: several GPUs, timing, atomic operations that race with plain accesses.
"""

from moedsl.backends.emulator.backend import BACKEND, EmulatorBackend

__all__ = ["BACKEND", "EmulatorBackend"]
