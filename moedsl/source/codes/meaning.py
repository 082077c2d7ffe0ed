"""MOE02xx: meaning."""

TEXT = """
MOE0201 no ragged index
A kernel multiplies the rows of many experts. How many rows each has is what the ragged index
says; without one there is a single matrix product, for which other libraries exist.

    index e = 8
    index m = 1024

Write `index m = ragged(e)`.

MOE0202 two ragged indices
A kernel has exactly one ragged index. The call hands over one list `offs` of where each expert's
rows end, and every ragged dimension is packed by it.

    index m = ragged(e)
    index r = ragged(e)

Use `m` for both, or make the other one `dynamic` if its extent is the same for all experts.

MOE0203 contraction does not have two factors
A contraction is a sum over a product of exactly two inputs: that is what the tensor cores
compute. A vector or scalar factor that does not depend on the summed index can stand outside.

    d = sum[k] p[m] * x[m, k] * w[e, n, k]

Write `d = p[m] * (sum[k] x[m, k] * w[e, n, k])`.

MOE0204 factor is not an input
The factors of a contraction are elements of inputs, gathered or not. They go from memory straight
to the tensor cores, so nothing can be computed with them on the way.

    sum[k] silu(x[m, k]) * w[e, n, k]

Apply the function in the kernel that makes `x`.

MOE0205 sum over a free index
The index in `sum[…]` is also an index of the output. Summing removes an index, so it can only run
over one that the output does not have.

    y[m, n] = sum[n] x[m, k] * w[e, n, k]

Sum over the index that both factors have and the output has not: `sum[k]`.

MOE0206 factor without the summed index
Both factors of a contraction must have the summed index. Otherwise one of them would be the same
in every term, and no matrix product would be left.

    y[m, n] = sum[k] x[m, k] * w[e, n]

Add the index to the factor, or take that factor out of the sum.

MOE0207 sum over several indices
A contraction sums over one index.

    sum[k, j] x[m, k, j] * w[e, n, k, j]

Hand the tensors over with both dimensions as one, as a view of the same memory.

MOE0208 sum over the experts
Every row belongs to exactly one expert, so there is nothing to add up over experts inside one
row. Adding the results of several experts for one token is a scatter.

    sum[e] x[m, k] * w[e, n, k]

Write `y[dst[m], n] += d`, with `dst` the token of each row.

MOE0209 factors do not fit the output
With `m` and `n` the indices of the output, one factor of a contraction has `m` and the summed
index, the other one `n` and the summed index. Only the second may also have the expert index; a
weight without it is shared by all experts. Nothing else may occur.

    y[m, n] = sum[k] x[m, k] * r[m, k]    # no factor has n

Check the subscripts of both factors.

MOE0210 index stands twice in one element
An element like `x[m, m]` would be a diagonal, which has no use here.

    w[e, k, k]

Give each dimension an index of its own; two indices may have the same extent.

MOE0212 expert and ragged index in one tensor
The rows of all experts lie packed behind each other in the ragged dimension, so a row already
knows its expert. A tensor with both dimensions would be padded, which is what moedsl avoids.

    input x : bf16[e, m, k]

Write `input x : bf16[m, k]`.

MOE0213 `+=` through a map needs f32
Rows that a map sends to the same place are added by atomic operations, in no fixed order. In bf16
or f16 each addition would round, and the result would depend on the order by far more than one
rounding. So the output must be f32.

    output y : bf16[t, n]
    y[dst[m], n] += p[m] * d

Declare `output y : f32[t, n]` and convert it afterwards.

MOE0214 kernel without output
A kernel declares at least one output and writes it.

    kernel k { … gate = sum[k] x[m, k] * w[e, n, k] }

Add `output h : bf16[m, n]` and `h[m, n] = gate`.

MOE0215 output written twice
Every element of an output is written exactly once, so an output has one store.

    h[m, n] = gate
    h[m, n] += up

Combine the values: `h[m, n] = gate + up`.

MOE0216 output never written
An output is declared but nothing is stored to it. A call would return memory that was never set.

    output h : bf16[m, n]

Store to it, or remove it.

MOE0217 store to something that is no output
Only outputs can be stored to. Inputs belong to the caller, and values are names for results.

    x[m, k] = 0

Declare an output for it.

MOE0218 output with other indices
The indices of an output say what kind of kernel it is. With the ragged index, it has a row for
every row of the batch, and one more index: `h[m, n]`. Without, it has a matrix for every expert,
as weight gradients do: `dw[e, n, k]`, and the ragged index is summed.

    h[e, n] = …

Use one of the two forms. Results with fewer indices, such as sums of rows, are not possible.

MOE0219 outputs with different indices
All outputs of a kernel are written from the same tiles, so they have the same indices as the
first one.

    h[m, n] = gate
    g[m, k] = …

Put the second output into a kernel of its own.

MOE0220 kernel without contraction
A kernel has at least one `sum[…]`. Elementwise work alone is not what the compiler is for.

    h[m, n] = silu(a[m, n])

Fuse it into the kernel that makes `a`.

MOE0221 sum inside a sum
A contraction cannot be a factor of another one: the inner result would have to be complete
before the outer one can start.

    sum[k] (sum[j] x[m, j] * a[e, k, j]) * b[e, n, k]

Store the inner result, and read it in a second kernel.

MOE0222 map of another index
Gather and scatter move rows of the batch: only the ragged index can go through a map.

    w[e, perm[n], k]

Permute the weights once, before the calls.

MOE0223 map in a map
A subscript goes through one map at most.

    x[src[order[m]], k]

Compose the two maps into one before the call.

MOE0224 element outside the output's indices
Outside of a contraction, elements are read at a point of the output. An index that the output
does not have is not defined there.

    h[m, n] = gate * x[m, k]              # which k?

Sum over the index, or read another tensor.

MOE0225 weight gradient does not sum its rows
Where the output has a matrix for every expert, the ragged index must be the summed one in every
contraction: only through it do the rows of the batch belong to an expert.

    dw[e, n, k] = sum[j] a[n, j] * b[k, j]

Sum over the ragged index: `sum[m] dy[m, n] * x[m, k]`.
"""
