"""MOE06xx: command line, rows and files."""

TEXT = """
MOE0600 wrong use of a command
An option or argument is unknown, missing or malformed; with `--json` the document says which.
`moedsl COMMAND --help` lists what a command takes.

MOE0601 unknown diagnostic code
`moedsl explain-code` explains codes of the form MOE0123; `moedsl explain-code` alone lists them.

MOE0602 unknown kernel
The file has no kernel of this name. The note lists those it has.

    moedsl run examples/quickstart.moe --kernel quickstart

MOE0603 which kernel?
The file has no kernel to work on; or it has several, and `module.kernel()` does not say which:

    moedsl.load("layer.moe").kernel("up")

MOE0604 unknown schedule
No schedule of the file, or of the kernel, has this name. Without a name the compiler takes the
first schedule whose `on` and `when` fit, and chooses one by itself if none does.

MOE0605 unknown target
Targets are named as NVRTC names them: sm_80, sm_89, sm_90a, sm_120. The note lists all.

MOE0606 schedule for another target
The named schedule is written `on` an architecture that the chosen target is not. `on sm_80` covers
sm_80 and newer; `on sm_90a` exactly sm_90a.

MOE0607 unsuitable input arrays
The file given with `--inputs` cannot be read, or an array in it does not fit the kernel: an unknown
name, another shape, a type that cannot be converted, or `offs` that are no cumulative ends. Arrays
that are missing are drawn at random.

    numpy.savez("x.npz", x=x, offs=numpy.array([3, 3, 10], "int32"))

MOE0608 not a dynamic index
`--size` gives the extent of an index declared `dynamic`. Params are set with `--set`, the rows of
experts with `--rows`.

    moedsl run examples/down_combine.moe --size t=512

MOE0609 cannot write
A file or folder could not be written.

MOE0610 nowhere to put an artefact
Several artefacts, be it of several kernels, go to a folder, and machine code goes to a file or a
pipe, not to a terminal.

    moedsl compile FILE --emit cuda --emit cubin -o out/

MOE0611 unknown backend
No installed backend has this name. The note lists those there are; `moedsl doctor` says which of
them can run here.

MOE0620 no such rows
The file with rows cannot be read, or has no such case. `FILE#case` takes the entry `case` of a JSON
object; without it the file holds a list, or numbers between commas or blanks.

MOE0621 not a number of rows
Rows are whole numbers from 0 on.

    --rows 12,0,7

MOE0622 wrong number of row counts
There must be one number of rows for each expert.

MOE0623 malformed distribution
Distributions are `even:N`, `uniform:N`, `zipf:N:S` and `onehot:N`: N rows in all, and S the
exponent of the Zipf distribution, 0 to 100.

    --rows zipf:16384:1.2

MOE0624 too many rows
`offs` is an i32 tensor, so a call has fewer than 2^31 rows.

MOE0625 unreadable fuzz case
`--replay` takes the word that `moedsl fuzz` printed for a failing case, or a corpus entry.

MOE0626 fuzz case of another file
The case was found for a kernel that this file does not have. Replay it on the file it was found in.

MOE0690 unknown benchmark case
The note lists what there is to choose from.
"""
