r"""Situations that PapaParse's tests cover, in our own words and with our own data.

Each has the bytes of a file without its header, and the records that are read: the cells of each, or the code of what
is wrong with it. A reason says why we judge differently from PapaParse.

https://github.com/mholt/PapaParse/blob/master/tests/test-cases.js
"""

from __future__ import annotations

from typing import Final, NamedTuple

BAD = "invalid_csv"
_BLANK = "Rows of nothing but delimiters hold no data"
_SPACE = "White space around quotation marks is not part of the cell"
_ONE_LINE = "Only the line with the stray quotation mark is bad; the next row is good"


class Case(NamedTuple):
    """A situation."""

    name: str
    data: bytes
    records: list[list[str] | str]
    differs: str = ""
    delimiter: str = ","


CASES: Final = [
    Case("one record", b"p,q,r", [["p", "q", "r"]]),
    Case("two records", b"p,q\ns,t", [["p", "q"], ["s", "t"]]),
    Case("three records and a last line end", b"p\nq\nr\n", [["p"], ["q"], ["r"]]),
    Case("a single cell", b"hello there", [["hello there"]]),
    Case("nothing", b"", []),
    Case("spaces inside of a cell", b"p q,r  s", [["p q", "r  s"]]),
    Case("spaces around a cell", b"p,  q ,\tr", [["p", "  q ", "\tr"]]),
    Case("a quoted cell", b'p,"q",r', [["p", "q", "r"]]),
    Case("a quoted cell first", b'"p",q', [["p", "q"]]),
    Case("a quoted cell last", b'p,"q"\nr,s', [["p", "q"], ["r", "s"]]),
    Case("all cells quoted", b'"p","q"\n"r","s"', [["p", "q"], ["r", "s"]]),
    Case("spaces inside of quotation marks", b'p," q ",r', [["p", " q ", "r"]]),
    Case("a delimiter in a quoted cell", b'p,"q,r",s', [["p", "q,r", "s"]]),
    Case("a line feed in a quoted cell", b'p,"q\nr",s', [["p", "q\nr", "s"]]),
    Case("CRLF in a quoted cell", b'p,"q\r\nr",s\r\n', [["p", "q\r\nr", "s"]]),
    Case("CR in a quoted cell", b'p,"q\rr",s\r', [["p", "q\rr", "s"]]),
    Case("line feeds in two cells of a record", b'"p\np","q\n\nq"\nr,s', [["p\np", "q\n\nq"], ["r", "s"]]),
    Case("a delimiter and a line feed in a last cell", b'p,"q,q\nq"\nr,s', [["p", "q,q\nq"], ["r", "s"]]),
    Case("a doubled quotation mark", b'p,"q""q",r', [["p", 'q"q', "r"]]),
    Case("doubled quotation marks in several places", b'p,"q""r""s"', [["p", 'q"r"s']]),
    Case("doubled quotation marks at both ends", b'p,"""q""",r', [["p", '"q"', "r"]]),
    Case("doubled quotation marks before a line end", b'p,"q"""\nr,s', [["p", 'q"'], ["r", "s"]]),
    Case("only a doubled quotation mark", b'p,"""",r', [["p", '"', "r"]]),
    Case("a delimiter between doubled marks", b'p,""",""",q', [["p", '","', "q"]]),
    Case("a delimiter before a doubled mark", b'p,",""",q', [["p", ',"', "q"]]),
    Case("a delimiter after a doubled mark", b'p,""",",q', [["p", '",', "q"]]),
    Case("five marks in a row", b'"p=""""","q"', [['p=""', "q"]]),
    Case("an empty quoted cell", b'p,"",q', [["p", "", "q"]]),
    Case("an empty quoted cell at the end of the file", b'p,""\nq,""', [["p", ""], ["q", ""]]),
    Case("a quotation mark at the end of an unquoted cell", b'p,q",r', [["p", 'q"', "r"]]),
    Case("quotation marks inside of an unquoted cell", b'p,q "r" s,t', [["p", 'q "r" s', "t"]]),
    Case("an inch mark", b'19",p', [['19"', "p"]]),
    Case("single quotation marks", b"'p,q',r", [["'p", "q'", "r"]]),
    Case("a backslash before a quotation mark", b'p,"q\\"r",s\nt,u,v', [BAD, ["t", "u", "v"]]),
    Case("space before quotation marks", b'p, "q",r', [["p", "q", "r"]], _SPACE),
    Case("space on both sides of quotation marks", b'p, "q" ,r', [["p", "q", "r"]], _SPACE),
    Case("space after a quoted cell", b'p,"q" ,r', [["p", "q", "r"]]),
    Case("space after a quoted cell at a line end", b'p,"q" \nr,"s"  ', [["p", "q"], ["r", "s"]]),
    Case("space after a quoted cell with a delimiter", b'p,",q" ,r', [["p", ",q", "r"]]),
    Case("space after a quoted cell with a line feed", b'p,"q\nr" ,s', [["p", "q\nr", "s"]]),
    Case("text after a quoted cell", b'p,"q"r,s\nt,u,v', [BAD, ["t", "u", "v"]]),
    Case("a quoted cell that is not closed", b'p,"q,r\ns,t,u', [BAD, ["s", "t", "u"]], _ONE_LINE),
    Case("a quoted cell that is not closed at the end of the file", b'p,q\nr,"s', [["p", "q"], BAD]),
    Case("a stray mark that a later one closes", b'"p,"q,r"\ns,t,u', [BAD, ["s", "t", "u"]], _ONE_LINE),
    Case("a stray mark after a delimiter", b'p,"q,"r\ns,t,u', [BAD, ["s", "t", "u"]], _ONE_LINE),
    Case("a mark that closes in the middle of the next line", b'p,"q\nr"s,t\nu,v', [BAD, ["u", "v"]], _ONE_LINE),
    Case("empty cells in the middle", b"p,,,q\n,r,,s", [["p", "", "", "q"], ["", "r", "", "s"]]),
    Case("an empty first cell", b",p,q\n,r,s", [["", "p", "q"], ["", "r", "s"]]),
    Case("an empty last cell", b"p,q,\nr,s,", [["p", "q", ""], ["r", "s", ""]]),
    Case("only a delimiter", b",", [], _BLANK),
    Case("only delimiters", b",,\n,,,\n", [], _BLANK),
    Case("a blank line", b"p,q\n\nr,s", [["p", "q"], ["r", "s"]], "PapaParse can skip it too (skipEmptyLines)"),
    Case("three blank lines", b"p,q\n\n\n\nr,s", [["p", "q"], ["r", "s"]], "PapaParse can skip them too"),
    Case("a line of spaces", b"p,q\n  \nr,s", [["p", "q"], ["r", "s"]], "PapaParse can skip it too (greedy)"),
    Case("blank lines first", b"\n\np,q", [["p", "q"]], "PapaParse can skip them too"),
    Case("blank lines last", b"p,q\n\n\n", [["p", "q"]], "PapaParse can skip them too"),
    Case("CR", b"p,q\rr,s\r", [["p", "q"], ["r", "s"]]),
    Case("CRLF", b"p,q\r\nr,s\r\n", [["p", "q"], ["r", "s"]]),
    Case("all three line ends", b"p\rq\r\nr\ns", [["p"], ["q"], ["r"], ["s"]], "PapaParse takes the first it finds"),
    Case("LF, then CR", b"p\n\rq", [["p"], ["q"]]),
    Case("semicolons", b'p;"q;r";s,t', [["p", "q;r", "s,t"]], delimiter=";"),
    Case("tabs", b'p\t"q\tr"\ts', [["p", "q\tr", "s"]], delimiter="\t"),
    Case("vertical bars", b'p|"q|r"|s', [["p", "q|r", "s"]], delimiter="|"),
    Case("a byte order mark", b"\xef\xbb\xbfp,q", [["p", "q"]]),
    Case("a byte order mark before quotation marks", b'\xef\xbb\xbf"p,q",r', [["p,q", "r"]]),
    Case("a comment sign", b"# p,q\nr,s", [["# p", "q"], ["r", "s"]], "There are no comments in files of customers"),
    Case("a form feed and a vertical tab", b"p\x0cq,r\x0bs", [["p\x0cq", "r\x0bs"]]),
    Case("a line separator of Unicode", "p\u2028q,r\x85s".encode(), [["p\u2028q", "r\x85s"]]),
    Case("letters of many bytes", 'π,"é,",日本'.encode(), [["π", "é,", "日本"]]),
    Case("bytes that are not UTF-8", b"p,\xe9\nq,r", ["not_utf8", ["q", "r"]], "PapaParse decodes before it parses"),
    Case("records of different lengths", b"p,q\nr\ns,t,u", [["p", "q"], ["r"], ["s", "t", "u"]]),
    Case("a sign of zero", b"p\0q,r", [["p\0q", "r"]]),
]
