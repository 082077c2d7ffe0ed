"""MOE04xx: schedule legality on a target."""

TEXT = """
MOE0401 schedule is for another target
`on sm_80` covers sm_80 and newer; `on sm_90a` covers exactly that one. The schedule was asked for
on a target that it does not cover.

    schedule fast for up on sm_90a { … }      # compiled with --target sm_80

Compile for the target that is written, or write a schedule for this one.

MOE0402 size below 1
Tile sizes, cluster sizes and raster groups count elements or tiles, so they are at least 1.

    tile m=0 n=128 k=64

Use a positive size, or leave the setting out: the compiler chooses.

MOE0403 tails do not fall
Tails are the lower heights a tile may have where fewer rows are left. They are listed falling,
each once, and all are below the tile's rows.

    tile m=64 n=128 k=64
    tails m=32,64

Write `tails m=32,16`.

MOE0404 fuse needs ragged output rows
`fuse` lets experts with few rows share one work item. In a weight gradient the ragged index is
summed: all experts have equally many output tiles and none is small.

    schedule s for weight_gradient { fuse experts m<=16 }

Remove `fuse`.

MOE0405 fused experts exceed the tile
Experts that share a work item have at most one row tile each.

    tile m=64 n=128 k=64
    fuse experts m<=128

Write `fuse experts m<=64` or less, or make the tile higher.

MOE0406 order needs ragged output rows
`order longest` starts the experts with most rows first, and `order interleaved` spreads those with
several row tiles among the others. In a weight gradient all experts have equally many output
tiles.

    schedule s for weight_gradient { order longest }

Remove the line.

MOE0407 too many experts to sort
`order longest` sorts the experts in the shared memory of every CTA, which has room for 1024.

    index e = 2048
    order longest

Use `order index`.

MOE0408 number of stages
The software pipeline copies one stage while it multiplies another: 2 stages at least, 8 at most.

    stages 1

Use 3 or 4 unless measurements say otherwise.

MOE0409 number of consumers
Each consumer is a group of 128 threads, and all of them are threads of one CTA, which has 1024 at
most. Where warps are specialised, the producers are a group of 128 threads, too.

    warps consumers=8
    registers producer=24 consumer=64     # 9 x 128 = 1152 threads

Use 1 to 8 consumers, or 1 to 7 specialised ones.

MOE0410 split_k without work
The depth is cut into whole stages, and every part of `split_k` needs at least one of them. At
most 64 parts are allowed.

    index k = 256
    tile m=64 n=128 k=64
    split_k 8                     # 256 / 64 = 4 stages

Split less, or make the stages shallower.

MOE0411 no MMA shape fits
Tensor cores multiply in fixed shapes: 16 rows by 8 columns, or with `swap_ab` 8 rows by 16
columns. Specialised consumers multiply 64 rows by 8 columns, or with `swap_ab` 8 rows by 64
columns. Kernels that compute in f32 go in steps of 8 by 8. Tiles and tails are whole multiples.

    tile m=100 n=128 k=64

Use a multiple of what the note says, or `swap_ab` for low tiles.

MOE0412 no stage layout fits
In shared memory a stage consists of lines, one for each row or column, that hold the depth. A line
is a power of two of bytes, 64 to 512, so that swizzling spreads it over all banks. Specialised
warps bring in lines of 128 bytes, which are 64 elements, or 32 of tf32: one, two or four of them.

    tile m=64 n=128 k=96          # 96 x 2 bytes = 192

Use 32, 64, 128 or 256 for 16-bit types, 16, 32, 64 or 128 for f32 and tf32; with specialised warps
64, 128 or 256, for tf32 32, 64 or 128.

MOE0413 warps cannot share the tile
The warps of a CTA, four for each consumer, form a grid, and each takes the same number of whole
MMA products of every tile, tails too. No such grid exists for this height.

    tile m=16 n=64 k=64           # 1 x 8 products
    warps consumers=4             # 16 warps
    registers off

Use fewer consumers or a larger tile; for a tail, leave that height out.

MOE0414 too much shared memory
The stages of the pipeline, the staging of the epilogue and the work plan lie in shared memory, and
the target has less for a CTA. The notes show what takes how much.

    tile m=128 n=256 k=128
    stages 4

Use fewer stages, or a smaller tile.

MOE0415 too many registers
Each thread keeps its part of the output tile in registers, one for each sum, with the operands
beside it. A thread has 255 registers at most, and the threads of a CTA share those of the SM: 1024
threads have 64 each. Specialised consumers have what `registers` gives them; where they take turns
(`pingpong`), each holds a whole tile. Operands of tf32 that they bring to registers take 8 more for
every 64 columns, or rows. One product must fit what a thread starts with, before roles share the
registers.

    tile m=256 n=256 k=32
    warps consumers=1             # 512 sums for each of 128 threads

Use a smaller tile, or more consumers that share it. If sums are not what takes the registers, use
fewer consumers.

MOE0416 balanced tiles are no whole units
`tails balanced` shares the rows of an expert among its tiles in units of the lowest height. A share
fits in a tile whatever the number of rows only if the tile is a multiple of that unit.

    tile m=64 n=128 k=64
    tails balanced m=48           # 64 is not a multiple of 48

Write `tails balanced m=48,32,16`.

MOE0417 consumers cannot share the tile
Specialised consumers that share a tile form a grid, and each takes the same whole products of it,
in tiles of every height. A product has a multiple of 64 positions on its tall side (rows, or
columns with `swap_ab`) and of 8 on its flat one, at most 256; a consumer takes two equal ones if
there are more. Where positions of the flat side are innermost in their operand, they are cut at
multiples of 64 only.

    tile m=16 n=64 k=64
    tails m=8
    swap_ab                            # 8 rows and 64 columns are one product
    warps consumers=2 cooperative
    registers producer=40 consumer=232

Use fewer consumers, another tile, or `pingpong`, where no tile is shared.

MOE0418 copy engine cannot bring the tile in
Specialised warps let the copy engine (TMA) bring operands in, by boxes of at most 256 positions.
CTAs of a cluster share rows or columns of a tile: each brings in as many, in groups of 8. Those of
a pair along the rows also bring in all, where a tile has no neighbour to share with.

    tile m=64 n=128 k=64
    tails m=24
    swap_ab
    cluster n=2                   # 24 rows are 3 groups of 8, for 2 CTAs
    registers producer=40 consumer=232

Use heights and columns of which each CTA that shares them has a multiple of 8, and at most 256. In
a pair along the rows (`cluster m=2`) there are at most 256 in all.

MOE0419 cache needs the copy engine
`cache` hints at how long the L2 cache should keep an operand. Only copies of the copy engine (TMA)
carry such hints. It brings operands in for specialised warps, but no rows through a map.

    cache m=last
    registers off

Remove `cache` or `registers off`; where rows come through a map, hint at the columns only.

MOE0420 cluster is too large
A cluster that every GPU with clusters can run has at most 8 CTAs.

    cluster m=4 n=4

Use a product of 8 or less.

MOE0421 cluster along the rows is no pair
Two CTAs may take two row tiles of one expert and share its columns; where an expert has no second
row tile left, they take two column tiles of one row tile. Larger clusters lie along the columns
only. The two tiles are copied and computed in step, equally high: rows must be shared evenly.

    registers producer=40 consumer=232
    cluster m=4

Use `cluster m=2`, with `tails balanced` or none, or cluster along the columns: `cluster n=4`.

MOE0422 target has no clusters
Clusters exist from compute capability 9.0 on.

    schedule s for up on sm_80 { cluster n=2 }

Remove `cluster`, or compile for sm_90 or newer.

MOE0423 cluster shares nothing
CTAs of a cluster compute neighbouring tiles, and the copy engine brings what they share to all of
them at once. The portable path loads operands for each CTA alone; there, and along the columns
where specialised warps read rows through a map, a cluster would only restrict where CTAs may run.

    schedule s for up on sm_90a {
        cluster n=2
        registers off
    }

Remove `cluster` or `registers off`.

MOE0424 target has no specialised warps
`registers` gives warps roles: some copy, some multiply, and each has the registers that it needs.
That takes the copy engine, wgmma and setmaxnreg, which compute capability 9.0 alone has together;
its target is sm_90a. On all other targets kernels take the portable path, where all warps do both.

    schedule s for up on sm_80 { registers producer=40 consumer=232 }

Write `registers off`, leave the line out, or write the schedule `on sm_90a`.

MOE0425 pingpong needs specialised warps
In ping-pong, consumers take turns with whole tiles, fed by producers: one multiplies while another
one stores. On the portable path all warps share one tile, and one consumer alone has no other to
take turns with.

    warps consumers=2 pingpong
    registers off

Write `cooperative`, or remove `registers off`; use at least 2 consumers.

MOE0426 epilogue store=tma cannot store
The copy engine stores boxes of rows and columns from shared memory. Only specialised warps use it,
and only for outputs that are not added to or stored through a map, and whose innermost dimension
are the columns. Of a row it stores whole 16 bytes: rows must end at a multiple of them. Where the
columns are dynamic, threads store in calls whose rows do not.

    schedule s for down_combine on sm_90a {
        epilogue store=tma                # y[dst[m], n] += p[m] * d
    }

Write `epilogue store=staged`.

MOE0427 once tells nothing apart
`cache n=once` lets L2 give up first the weights of experts whose rows are all in one tile, or pair,
and keeps those that several tiles read. Rows are read by the tiles of all columns, and where rows
are not ragged, all experts have as many tiles.

    cache m=once

Give `once` for the columns, or use `first`, `last` or `normal`.

MOE0428 registers exceed the pool
All threads of a CTA start with equally many registers, a multiple of 8. Producers then give some
away, and consumers take some, by eights, from 24 to 240. The roles together have no more than there
were at the start.

    warps consumers=3                     # 4 x 128 threads start with 128 registers each
    registers producer=40 consumer=168    # 40 + 3 x 168 = 544, of 4 x 128 = 512

Use the number that the help names.

MOE0429 specialised warps cannot compute the kernel
Specialised warps multiply bf16, f16 and tf32. The copy engine brings their operands in: it follows
no maps, but for rows of x[src[m], k], which producers gather themselves; and its boxes start at
multiples of 16 bytes, so the ragged index cannot be innermost, where experts start anywhere. Of
tf32 one side, rows or columns, must have the summed index innermost and come through no map.

    compute f32
    registers producer=40 consumer=232

Write `registers off`: the portable path computes every kernel.

MOE0430 determinism cannot be proved
`+=` through a map adds atomically, in whatever order CTAs arrive. Sums of f32 depend on their
order, so two runs may differ in the last bits.

    y[dst[m], n] += d
    require deterministic

Store each row once (`z[m, n] = d`) and add the rows of a token in a second kernel, or drop the
requirement.

MOE0431 batch invariance cannot be proved
`require batch_invariant` promises that a row's bits do not depend on the other rows of the batch.
That cannot hold where rows are summed with one another (a weight gradient, `+=` through a map), nor
where the number of rows selects the schedule: another schedule may sum in another order.

    schedule few for up when rows <= 512 { require batch_invariant }

Use one schedule for every number of rows, or drop the requirement.

MOE0432 flat side of tf32 products lies otherwise
Products of specialised warps have a tall side and a flat one: rows and columns, or with `swap_ab`
columns and rows. The flat side comes from shared memory, where the tensor cores take tf32 only if
the summed index is innermost, and cut off what the copy engine has not rounded, as rows through a
map. The tall side may lie otherwise, or come through a map: consumers bring it to registers.

    input w : f32[e, k, n]
    compute tf32
    swap_ab off
    registers producer=40 consumer=232

Give `swap_ab` if the columns' operands lie otherwise, `swap_ab off` if the rows' do.

MOE0440 much padding
A warning. A tile multiplies as many rows as it is high, whether an expert has them or not. At the
rows that are typical of calls, more than a quarter of the work would be for rows that are not
there, though lower tiles are possible.

    tile m=128 n=128              # experts with 64 rows each

Allow tails that are near to what experts leave over, or use a lower tile.

MOE0441 few warps on an SM
A warning. While one warp waits for memory or for a barrier, another one must compute. How many
warps an SM holds depends on the shared memory and the registers that each CTA takes.

    tile m=128 n=128 k=64
    stages 6                      # one CTA of 4 warps fits

Use fewer stages or a smaller tile, so that more CTAs fit, or give a CTA more consumers.

MOE0442 registers are spilled
A warning. The compiler found no registers for all values and keeps some in local memory, which is
many times slower. The message says how many bytes are written and read back.

    tile m=128 n=256 k=64
    warps consumers=1

Use a smaller tile or more consumers.

MOE0443 products are serialized
A warning. Specialised warps start products (wgmma) and go on while the tensor cores work. Where the
compiler cannot keep the sums in their registers meanwhile, it waits for each product before the
next one. The message quotes its reason.

Use a smaller tile or more consumers.
"""
