"""MOE01xx: names and types."""

TEXT = """
MOE0101 unknown name
A name is used that nothing defines. Params and values must be defined in a line before their use;
indices and tensors may be declared anywhere in the kernel. If a name that exists is close to what
was written, the help names it.

    gate = sum[k] x[m, k] * w[e, n, k]
    h[m, n] = silu(gat)                   # there is no `gat`

Correct the spelling, or declare the name.

MOE0102 name defined twice
Every name of a kernel is defined once: params, indices, tensors and values share one name space,
and a value cannot be changed. A kernel also has at most one `compute` line.

    gate = sum[k] x[m, k] * wg[e, n, k]
    gate = silu(gate)                     # `gate` again

Use a new name for the second value.

MOE0103 reserved name
The name is a keyword (`kernel schedule param index input output compute sum ragged dynamic`), a
function (`silu`, `exp`, …), an element type (`bf16`, …), or `offs`, the argument in which a call
hands over where each expert's rows end. Names of C and CUDA are free to use.

    input max : f32

Choose another name.

MOE0104 unknown element type
Tensors hold bf16, f16 or f32, and maps hold i32. Other spellings and sizes do not exist here.
tf32 is a way to multiply f32 numbers, not a type in memory.

    input x : float16[m, k]

Write `f16`. For tf32, declare the tensor f32 and add the line `compute tf32`.

MOE0105 element type is not in this version
8-bit and 4-bit floating point types are known but cannot be used yet: they need scale factors
beside the values, and both will come together.

    input x : e4m3[m, k]

Use bf16 or f16.

MOE0106 wrong kind of name
A name is used as something it is not: an index as a value, or a param or value with subscripts.
Only tensors have elements, and an index can only stand in a subscript.

    h[m, n] = gate * n                    # n is an index and has no value

Use a param where a size is wanted as a number.

MOE0107 wrong number of subscripts
An element names one subscript for each dimension of its tensor, in the declared order. A scalar
input has none and is written as its name alone.

    input w : bf16[e, n, k]
    y[m, n] = sum[k] x[m, k] * w[n, k]    # the expert is missing

Write `w[e, n, k]`. Nothing is implied, not even the expert.

MOE0108 subscript does not fit the dimension
A dimension can be subscripted with the index it was declared with, or with another fixed index
of the same extent. Ragged and dynamic dimensions take their own index only, because their extents
are not known before the call.

    input x : bf16[m, k]                  # k = 4096
    … x[m, n] …                           # n = 14336

Swap the subscripts if they are in the wrong order, or correct the declaration.

MOE0109 not an index
Dimensions of a tensor are names of indices, and so are subscripts, alone or through a map
(`src[m]`). Numbers and arithmetic are not possible in their place.

    input w : bf16[e, n, 4096]

Declare `index k = 4096` and write `w : bf16[e, n, k]`.

MOE0110 scaled factors are not in this version
A subscript like `k/128` selects the scale of a block of 128 elements, as 8-bit types need them.
Scales come with those types in a later version.

    sum[k] x[m, k] * sx[m, k/128] * w[e, n, k]

Apply scales of whole rows or columns outside of the sum: `sx[m] * (sum[k] …)`.

MOE0111 unknown function
The functions are silu, gelu, gelu_tanh, relu, sigmoid, tanh, exp, min, max, abs and clamp.
Elements are written with square brackets, calls with round ones.

    h[m, n] = swish(gate)

Write `silu(gate)`; other functions can be composed of these and `+ - * /`.

MOE0112 wrong number of values for a function
`min` and `max` take two values, `clamp(x, low, high)` three, all other functions one.

    up = clamp(gate, 7)

Write `clamp(gate, -7, 7)`, or `min(gate, 7)` for one bound.

MOE0113 not a constant
Params and extents are computed when the kernel is compiled, so they are made of numbers, params
defined above, and `+ - * /`. Tensors, functions and sums are known only when the kernel runs.

    index n = max(ffn, 128)

Compute the number yourself, or set a param: `--set ffn=128`.

MOE0114 division by zero
A constant expression divides by zero.

    param parts = 0
    index n = 4096 / parts

Divide by something else, or set the param: `--set parts=2`.

MOE0115 impossible extent
The extent of an index is a whole number from 1 to 2147483647. Constant expressions are exact:
`7 / 2` is 3.5, which is no extent. The number may come from a param set on the command line.

    index n = ffn / 3                     # ffn = 4096

Use an extent that divides evenly.

MOE0116 unknown param
A value was set for a param that no kernel of the file declares. Params of the same name in several
kernels are all set.

    moedsl check seed.moe --set hiden=2048

Correct the name; the message lists the params of the file.

MOE0118 i32 tensor is not a map
Tensors of type i32 are maps: inputs with one dimension that hold row numbers. A subscript can go
only through such a map.

    input src : i32[m, k]

Declare `input src : i32[m]`, and write `x[src[m], k]`.

MOE0119 calculation with a map
A map holds row numbers, and only subscripts can use it. There is no integer arithmetic.

    h[m, n] = gate * src[m]

Hand over the numbers a second time in an f32 tensor if they are really values.

MOE0120 output cannot be i32
Results are f32 values rounded to the type of the output: bf16, f16 or f32.

    output h : i32[m, n]

Choose one of these types.

MOE0123 two kernels of one name
Kernels of a file are told apart by their names, in schedules and on the command line.

    kernel up { … }
    kernel up { … }

Rename one of them.

MOE0124 name is never used
Something is declared or computed and then not used. This is a warning: the kernel means the same
without it, but an unused input must still be handed over in every call.

    input bias : bf16[e, n]               # and no `bias[e, n]` anywhere

Use it or remove it.

MOE0125 output is read
Outputs can only be written. Tiles are computed in no fixed order, so what an output holds at a
given time is not defined. `+=` is the one way to add to what it held before the call.

    h[m, n] = silu(gate)
    y[m, n] = h[m, n] * up

Give the value a name, store it, and use the name: `a = silu(gate)`.

MOE0126 too many experts
The expert index may have an extent from 1 to 4096.

    index e = 100000
    index m = ragged(e)

Check whether the ragged index is over the right one.

MOE0127 unknown compute type
Products are formed in bf16, f16, f32 or tf32, and always summed in f32.

    compute tf23

Write `compute tf32`, or leave the line out: the default is the inputs' type.

MOE0128 factors of different types
Both factors of a contraction have the same element type, and so have the factors of all
contractions in a kernel: the tensor cores multiply equal types only.

    input x : bf16[m, k]
    input w : f16[e, n, k]
    … sum[k] x[m, k] * w[e, n, k]

Convert one of the tensors before the call.

MOE0129 experts are not fixed
The index in `ragged(…)` counts the experts. Their number is part of the kernel, so it must be a
fixed index.

    index e = dynamic
    index m = ragged(e)

Write `index e = experts` with `param experts = 8`, and set the param where needed.

MOE0130 compute type does not fit the inputs
`compute tf32` rounds f32 inputs to tf32 before they are multiplied, which is faster and less
exact. It is the only choice there is; any other compute type must be that of the inputs.

    input x : bf16[m, k]
    compute tf32

Remove the line, or declare the inputs f32.
"""
