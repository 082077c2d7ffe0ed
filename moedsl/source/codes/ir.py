"""MOE07xx: IR text and verifier."""

TEXT = """
MOE0701 malformed IR text
The text does not have the form of `grammar/ir.lark`. The label says what could stand there.

    %c[m, n] = moe.contract over = k lhs = x[m, k]      # `,` is missing between attributes

The quickest way to well-formed text is to change what `moedsl opt` prints.

MOE0702 unknown name in IR text
There is no level, operation or attribute of this name, or the operation belongs to another level.

    %c[m, n] = tile.contract over = k, …

The levels are moe, scheduled, tile and those of the backends; operations carry their dialect's
name: `moe.contract`, `tile.multiply`, `elem.apply`.

MOE0703 attribute is missing or of the wrong kind
Every attribute of an operation is written out, once, and holds what its definition says. The
label shows what it may hold.

    stages = 3.5

Write `stages = 3`.

MOE0704 value is used before it is defined
A `%value` is used that no operation before it defines, in this region or one around it.

    elem.store operand = %y, access = h[m, n], accumulate = false      # nothing defines %y

Correct the name, or move the operation that defines it up.

MOE0705 IR breaks a rule
The text is well formed, but not a legal kernel: a value defined twice, a tensor subscripted with
the wrong indices, an output that is stored twice or never. The same rules are checked after every
pass.

    elem.store operand = %c, access = h[m, n], accumulate = false
    elem.store operand = %d, access = h[m, n], accumulate = false

Change the kernel so that it keeps the rule which the message states.

MOE0706 unknown pass
There is no pass of this name. The note lists the passes in the order of the pipeline.

    moedsl opt up.moe --passes fold_constant

Write `--passes fold_constants`.

MOE0707 pass reads another level
Each pass takes IR of one level, and some make IR of the next. This pass was to be run on a level
that it does not read.

    moedsl opt up.moe --passes build_tile

Run what makes the level first: `--passes choose_schedule,build_tile`.

MOE0708 unknown target in IR text
The kernel in the IR text is for an architecture that moedsl does not know.

    target = sm_70

Use one of those that moedsl knows: sm_80, sm_89, sm_90a, sm_120 and others.
"""
