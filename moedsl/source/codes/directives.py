"""MOE03xx: names and values in schedules."""

TEXT = """
MOE0301 unknown directive
A line of a schedule starts with a directive: tile, tails, swap_ab, stages, warps, registers,
cluster, cache, persistent, order, raster, fuse, split_k, epilogue or require.

    persistant static

Correct the name; the help has the nearest one.

MOE0302 directive given twice
Each directive stands once in a schedule. Only `require` may be repeated: requirements add up.

    stages 3
    stages 4

Keep one of the lines.

MOE0303 directive is written differently
The directive exists, but what stands behind it does not have its form. The label shows the form.

    fuse m<=16

Write `fuse experts m<=16`.

MOE0304 unknown key
The directive has no setting of this name. Dimensions are called by the kernel's own index names:
in a kernel with output `h[m, n]` that sums over `k`, a tile has m, n and k.

    tile rows=128 cols=128

Write `tile m=128 n=128`.

MOE0305 setting given twice
The same setting stands twice in a directive, or twice under two names of the same dimension.

    tile m=128 m=64

Keep one.

MOE0306 not a whole number
Sizes and counts in schedules are plain whole numbers. Params cannot be used: a schedule does not
depend on the kernel's sizes.

    stages four

Write `stages 4`.

MOE0307 number is out of range
The number is zero or larger than the directive could ever use. Whether a number within the range
is possible on a target is checked separately, with the memory and registers it needs.

    tile m=0 n=128 k=64

Use a number within the range that the label gives.

MOE0308 unknown word
The directive takes one of a few words, and this is none of them.

    persistent sometimes

Write one of the words that the label gives: `static`, `dynamic` or `off`.

MOE0310 schedule for an unknown kernel
A schedule names the kernel it is for, which must be in the same file.

    schedule fast for mixtral_upp { … }

Correct the name.

MOE0311 schedule for an unknown target
`on` names an NVIDIA architecture. `on sm_80` covers it and every newer one, `on sm_90a` exactly
that one.

    schedule fast for up on h100 { … }

Write `on sm_90a`; without `on`, the schedule is for all targets.

MOE0312 condition on something else than rows
What a schedule can depend on is `rows`, the number of rows of all experts in a call: it is known
on the host without waiting for the device. The rows of a single expert are not.

    schedule small for up when m <= 16 { … }

Write `when rows <= 128`.

MOE0313 conditions contradict each other
No number of rows meets all conditions, so the schedule could never be used.

    when rows > 512 and rows < 64

Correct the bounds.

MOE0314 two schedules of one name
The schedules of a kernel are told apart by their names, on the command line and in messages.

    schedule fast for up { … }
    schedule fast for up when rows <= 64 { … }

Rename one of them.

MOE0319 schedule is never chosen
Of the schedules for the same target, the first one whose conditions hold is taken. An earlier one
has no condition, so this one is never reached. This is a warning.

    schedule prefill for up { … }
    schedule decode for up when rows <= 256 { … }

Put the schedule without conditions last.
"""
