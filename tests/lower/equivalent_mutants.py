"""Mutants that no test can kill, by name, each with the reason: reviewed by hand."""

from __future__ import annotations

CHOOSE = "moedsl/lower/choose_schedule.py : "
WHOLE_CTAS = "CTAs have 128 threads or a multiple, so one warp fewer than an even number is as many"

EQUIVALENT: dict[str, str] = {
    f"{CHOOSE}Proposal(128, 256, 64, 2, (6, 4), 8) → Proposal(128, 256, 64, 2, (6, 4), 7)": (
        WHOLE_CTAS
    ),
    f"{CHOOSE}Proposal(64, 64, 64, 1, (4, 2), 4) → Proposal(64, 64, 64, 1, (4, 2), 3) #2": (
        WHOLE_CTAS
    ),
    f"{CHOOSE}Proposal(64, 128, 64, 1, (6, 3), 8) → Proposal(64, 128, 64, 1, (6, 3), 7)": (
        WHOLE_CTAS
    ),
    "moedsl/lower/fold_constants.py round_f32: struct.unpack('f', struct.pack('f', number))[0]"
    " → struct.unpack('f', struct.pack('f', number))[-1]": "one number is unpacked",
}
