"""MOE00xx: text and syntax."""

TEXT = """
MOE0001 unexpected word or sign
Something stands where the grammar has no place for it. The message says what would fit there.
Reading goes on with the next statement, so other errors are reported in the same run.

    gate = sum[k] x[m, k] w[e, n, k]      # an operator is missing between the factors

Write `sum[k] x[m, k] * w[e, n, k]`. A statement ends with its line or with `;`; a line goes on in
the next one while a bracket is open or where it ends in an operator or a comma.

MOE0002 unexpected character
A character is no part of the language: neither of a name, a number, a sign nor blank space. Text
copied from a document may hold no-break spaces or typographic signs that look like plain ones.

    y[m, n] = x @ w                       # there is no `@`

Write the product as a contraction: `sum[k] x[m, k] * w[e, n, k]`.

MOE0003 block is never closed
A `{` has no `}`. The message points at the opening brace, and at where the block was still open:
the end of the file, or the next `kernel` or `schedule`.

    kernel up {
        index e = 8
    schedule fast for up { stages 3 }     # `}` is missing before this line

Add the `}` behind the last line of the block.

MOE0004 malformed number
A word starts with a digit but is not a number. Numbers are decimal: whole ones like `128`,
others like `0.5`, `1e-3` or `2.5e4`. There are no digit separators, suffixes or other bases.

    index k = 4_096

Write `index k = 4096`.

MOE0005 number is too large
A number exceeds what it could ever be used for: sizes end at 2147483647, and values are f32,
which end at about 3.4e38. Results of constant expressions are checked in the same way.

    param big = 1e40

Use a smaller number.

MOE0006 brackets nest too deeply
More than 64 brackets are open at once. No kernel needs that; the limit keeps a damaged file from
exhausting the compiler.

    h[m, n] = ((((((((…

Give parts of the expression a name: `part = …`, then use `part`.

MOE0007 name is not ASCII
Names become parts of symbols in compiled code and of file names, so they are made of the letters
a-z and A-Z, digits and `_`, and do not start with a digit. Comments may hold any text.

    index größe = 8

Write `index groesse = 8`.

MOE0008 statement is too long
One statement has more than 300 words and signs. The limit bounds the depth of expressions.

    h[m, n] = a + a + a + a + …

Give parts of the expression a name: `part = …`, then use `part`.

MOE0009 file is not UTF-8
The bytes of the file are not UTF-8 text; the first wrong one is shown. The file may be binary, or
saved in another encoding such as Latin-1 or UTF-16.

    # 8 Experten, Gr\\xf6\\xdfe 4096        # Latin-1

Save the file as UTF-8 (`iconv -f latin1 -t utf-8`).

MOE0010 file cannot be read
The operating system refused to give the file: it does not exist, is a folder, or may not be read.

    moedsl check examples/sede.moe

Check the path and its permissions.

MOE0011 file has no kernel
There is nothing to compile: the file is empty, or holds comments or schedules only.

    # nothing here yet

Write at least one `kernel name { … }`; `examples/quickstart.moe` is a small one.

MOE0012 too many errors
More than 50 syntax errors were found and the rest of the file was not read. Such a file is
usually not moedsl at all, or an early mistake disturbs everything behind it.

    moedsl check photo.jpg

Correct the first errors and check again.

MOE0013 name is too long
A name has more than 128 characters. Names become parts of file names, which the operating system
limits.

    index a_name_that_goes_on_and_on_and_on… = 8

Choose a shorter name.
"""
