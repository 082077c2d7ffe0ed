"""MOE05xx: arguments of a call."""

TEXT = """
MOE0501 missing argument
A call takes every input of the kernel and `offs`, by name or in the order of their declaration,
`offs` last. With several outputs, `out=` is a mapping that holds each of them.

    up = moedsl.load("mixtral_up.moe").kernel().compile()
    h = up(x=x, wg=wg, wu=wu, offs=offs)

MOE0502 unknown argument
The kernel has no input of this name. Outputs are passed as `out=`.

    up(x=x, wg=wg, wu=wu, offs=offs, out=h)

MOE0503 too many arguments
More positional arguments than the kernel has inputs, or one given by position and by name.

MOE0504 not an array
An argument must be an array of NumPy, torch, CuPy or JAX, or have DLPack or
`__cuda_array_interface__`. Scalar inputs are arrays without dimensions.

    up(x=x.tolist(), …)

Pass `x` itself.

MOE0505 wrong shape
The array has another rank or extent than its declaration, or than another array with the same
index. Dimensions stand in the order of the declaration, so `bf16[e, k, n]` and `bf16[e, n, k]`
take different arrays.

MOE0506 wrong element type
The array's elements are not of the declared type. moedsl converts nothing: it would cost a copy.
`offs` and maps are i32; bf16 on the host is `ml_dtypes.bfloat16`.

    up(…, offs=offs.to(torch.int32))

MOE0507 unsuitable offs
`offs` is a packed i32[E]: the end of each expert's rows, counted from the first row of all, as
torch's grouped products take it. It holds no leading 0.

    rows 3, 0, 2  →  offs = [3, 3, 5]

MOE0508 arrays lie in different places
All arguments of a call lie on one device, or all on the host, and where the backend computes.

MOE0509 output is read-only
The array given as `out=` cannot be written. JAX arrays never can: give a torch or CuPy array that
JAX then imports.

MOE0510 output shares memory
Two elements of an output, or an output and another argument, lie in the same memory. Tiles are
computed in no fixed order, so the result would be undefined. Interleaved arrays, such as two
column ranges of one matrix, are fine.

    up(x=x, …, out=x)

MOE0511 size of an output is unknown
The output has a dynamic index that no input has, so moedsl cannot make the output.

    index t = dynamic
    output y : f32[t, n]
    y[dst[m], n] += d

Pass it: `out=torch.zeros(tokens, n, …)`.

MOE0512 offs do not rise
`offs` holds cumulative ends: they start at 0 or more, never fall, and the last is at most the
number of rows. It is checked on the host always, on a device with `compile(debug=True)` or
MOEDSL_DEBUG=1, because reading it waits for the device.

MOE0513 map points outside
A value of a map is no position in the dimension that it subscripts. Only positions that belong to
an expert count. Checked where MOE0512 is.

MOE0514 map points twice
A map through which an output is written holds a value twice: one row would be written by two
others, in no fixed order. Checked where MOE0512 is.

    y[dst[m], n] = d          # dst = [0, 4, 0]

Use `+=` to add the rows up.

MOE0515 output cannot be made
Outputs are made by the library of the first input that has dimensions, which must be NumPy, torch
or CuPy. Other arrays, such as JAX's, need the caller's: `out=`.

MOE0516 number too large
A number given for a scalar is finite, but rounds to infinity in the declared type.

    input scale : f16
    up(…, scale=1e6)

MOE0590 fault in a kernel
The emulator found a deadlock, a race or an access outside its bounds while it ran the emitted
kernel. This is a bug in moedsl. The help line repeats the run.
"""
