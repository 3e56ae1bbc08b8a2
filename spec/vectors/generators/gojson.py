"""Vectors for Go's JSON, quoting and times. What is marked was computed by Go 1.26 itself."""

from __future__ import annotations

from vectors.generators.base import Chapter

BY_GO = "Computed by Go 1.26."


def gojson() -> Chapter:
    """GOJSON."""
    out = Chapter("gojson")
    _strings(out)
    _names(out)
    _numbers(out)
    _times(out)
    _modes(out)
    return out


def _strings(out: Chapter) -> None:
    def encode(label: str, clauses: str, raw: bytes, expected: str) -> None:
        output = {"json": expected.encode().hex()}
        out.add(f"string-{label}", "encode-string", clauses, {"bytes": raw.hex()}, output=output, comment=BY_GO)

    encode("plain", "GOJSON-2", "aä/é\u20ac\U0001f600".encode(), '"aä/é\u20ac\U0001f600"')
    encode("control", "GOJSON-2", b"\b\f\n\r\t\v\0\x1f\x7f\"\\'", '"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\x7f\\"\\\\\'"')
    encode("html", "GOJSON-3", b"<>&", '"\\u003c\\u003e\\u0026"')
    encode("separators", "GOJSON-3", "\u2028\u2029\u202a".encode(), '"\\u2028\\u2029\u202a"')
    encode("invalid", "GOJSON-4", b"a\xff\xfeb\xc3", '"a\\ufffd\\ufffdb\\ufffd"')
    encode("cut-euro", "GOJSON-4", b"\xe2\x82x", '"\\ufffd\\ufffdx"')
    encode("surrogate", "GOJSON-4", b"\xed\xa0\x80", '"\\ufffd\\ufffd\\ufffd"')
    encode("overlong", "GOJSON-4", b"\xc0\xaf", '"\\ufffd\\ufffd"')
    encode("replacement", "GOJSON-4", "\ufffd".encode(), '"\ufffd"')


def _names(out: Chapter) -> None:
    def quote(label: str, clauses: str | list[str], raw: bytes, expected: str, comment: str = BY_GO) -> None:
        output = {"quoted": expected.encode().hex()}
        out.add(f"quote-{label}", "quote", clauses, {"name": raw.hex()}, output=output, comment=comment)

    quote("plain", "GOJSON-5", b"plain name", "plain name")
    quote("short", "GOJSON-5", b"\a\b\t\n\v\f\r\"\\'", "\\a\\b\\t\\n\\v\\f\\r\\\"\\\\'")
    quote("control", "GOJSON-5", b"\0\x01\x1b\x7f", "\\x00\\x01\\x1b\\x7f")
    quote("invalid", "GOJSON-5", b"\xff\xed\xa0\x80\xc3", "\\xff\\xed\\xa0\\x80\\xc3")
    quote("replacement", "GOJSON-5", "\ufffd".encode(), "\ufffd")
    quote("letters", "GOJSON-6", "äß\u4e2d\u05d0\u0301".encode(), "äß\u4e2d\u05d0\u0301")
    quote("spaces", "GOJSON-6", " \u00a0\u2003\u3000".encode(), " \\u00a0\\u2003\\u3000")
    quote("format", "GOJSON-6", "\u00ad\u200b\ufeff\u2028\u202e".encode(), "\\u00ad\\u200b\\ufeff\\u2028\\u202e")
    quote("private", "GOJSON-6", "\ue000\U000f0000\U0010ffff".encode(), "\\ue000\\U000f0000\\U0010ffff")
    quote("unassigned", "GOJSON-6", "\u0378\ufdd0\U0001fae9".encode(), "\\u0378\\ufdd0\\U0001fae9")
    quote("unicode-14", ["GOJSON-6", "DIFF-4"], "\U0001fae0".encode(), "\U0001fae0")
    quote("unicode-15", ["GOJSON-6", "DIFF-4"], "\U0001fae8\U000313b1".encode(), "\U0001fae8\U000313b1")
    quote("unicode-16", ["GOJSON-6", "DIFF-4"], "\U0001fadf".encode(), "\\U0001fadf")
    quote("variation-selector", "GOJSON-6", "\U000e0100\ufe0f".encode(), "\U000e0100\ufe0f")

    def unquote(label: str, quoted: str, name: bytes | None) -> None:
        given = {"quoted": quoted.encode().hex()}
        if name is None:
            out.add(f"unquote-{label}", "unquote", "GOJSON-7", given, "name-invalid", comment=BY_GO)
        else:
            out.add(f"unquote-{label}", "unquote", "GOJSON-7", given, output={"name": name.hex()}, comment=BY_GO)

    unquote("short", '\\a\\b\\t\\n\\v\\f\\r\\"\\\\', b'\a\b\t\n\v\f\r"\\')
    unquote("hex", "\\x00\\xff\\xFF", b"\0\xff\xff")
    unquote("euro-bytes", "\\xe2\\x82\\xac", "\u20ac".encode())
    unquote("code-points", "\\u20ac\\U0001F600\\uFFFD", "\u20ac\U0001f600\ufffd".encode())
    unquote("octal", "\\000\\101\\377", b"\0A\xff")
    unquote("not-needed", "\u00a0\x7f\t", "\u00a0\x7f\t".encode())
    for label, bad in {
        "bare-quote": 'a"b',
        "bare-line-feed": "a\nb",
        "end": "\\",
        "apostrophe": "\\'",
        "unknown": "\\e",
        "question": "\\?",
        "short-hex": "\\x0",
        "bad-hex": "\\xg0",
        "short-u": "\\u20a",
        "short-capital-u": "\\U0001F60",
        "surrogate": "\\ud83d\\ude00",
        "beyond": "\\U00110000",
        "octal-8": "\\108",
        "octal-short": "\\10",
        "octal-beyond": "\\400",
    }.items():
        unquote(label, bad, None)


def _numbers(out: Chapter) -> None:
    for text, expected in {
        "0": "0",
        "-0.0": "-0",
        "1": "1",
        "100": "100",
        "0.1": "0.1",
        "1e-06": "0.000001",
        "9.99e-07": "9.99e-7",
        "1e-07": "1e-7",
        "1.5e-10": "1.5e-10",
        "1e+20": "100000000000000000000",
        "1e+21": "1e+21",
        "1.5e+300": "1.5e+300",
        "123456789012345680000": "123456789012345680000",
        "0.3333333333333333": "0.3333333333333333",
        "5e-324": "5e-324",
    }.items():
        given = {"value": text}
        out.add(f"float-{text}", "encode-float", "GOJSON-9", given, output={"json": expected.encode().hex()}, comment=BY_GO)
    for text in ("inf", "-inf", "nan"):
        out.add(f"float-{text}", "encode-float", "GOJSON-9", {"value": text}, "json-invalid", comment=BY_GO)


def _times(out: Chapter) -> None:
    day = 86_400 * 10**9

    def write(label: str, clauses: str | list[str], ns: int, offset: int, expected: str, comment: str = BY_GO) -> None:
        given = {"ns": str(ns), "offset": offset}
        out.add(f"time-write-{label}", "format-time", clauses, given, output={"text": expected}, comment=comment)

    write("epoch", "GOJSON-8", 0, 0, "1970-01-01T00:00:00Z")
    write("nanosecond", "GOJSON-8", 1, 0, "1970-01-01T00:00:00.000000001Z")
    write("before", "GOJSON-8", -1, 0, "1969-12-31T23:59:59.999999999Z")
    write("trailing-zeros", "GOJSON-8", 500_000_000, 0, "1970-01-01T00:00:00.5Z")
    write("east", "GOJSON-8", 10**18 + 5, 5400, "2001-09-09T03:16:40.000000005+01:30")
    write("west", "GOJSON-8", 10**18 + 5, -12600, "2001-09-08T22:16:40.000000005-03:30")
    write("odd-offset", "GOJSON-8", 10**18 + 5, -2670, "2001-09-09T01:02:10.000000005-00:44")
    write("half-minute-west", "GOJSON-8", 10**18 + 5, -59, "2001-09-09T01:45:41.000000005+00:00")
    write("half-minute-east", "GOJSON-8", 10**18 + 5, 59, "2001-09-09T01:47:39.000000005+00:00")
    write("leap-day", "GOJSON-8", 11016 * day, 0, "2000-02-29T00:00:00Z")
    write("zero-time", "TREE-11", -719162 * day, 0, "0001-01-01T00:00:00Z")
    write("year-0", "TREE-11", -719528 * day, 0, "0000-01-01T00:00:00Z")
    write("year-below-0", "TREE-11", -719528 * day - 1, 0, "0000-12-31T23:59:59.999999999Z")
    write("far-below-0", "TREE-11", -719528 * day - 400 * 146097 * day, 0, "0000-01-01T00:00:00Z")
    write("year-9999", "TREE-11", 2932896 * day, 0, "9999-12-31T00:00:00Z")
    write("year-10000", "TREE-11", 2932897 * day, 0, "9999-01-01T00:00:00Z")
    write("year-10000-leap-day", "TREE-11", (2932897 + 59) * day, 0, "9999-03-01T00:00:00Z")

    def read(label: str, text: str, expect: tuple[int, int] | None) -> None:
        given = {"text": text}
        name = f"time-read-{label}"
        if expect is None:
            out.add(name, "parse-time", "GOJSON-8", given, "json-invalid", comment=BY_GO)
        else:
            output = {"ns": str(expect[0]), "offset": expect[1]}
            out.add(name, "parse-time", "GOJSON-8", given, output=output, comment=BY_GO)

    start = 1_577_836_800 * 10**9
    read("utc", "2020-01-01T00:00:00Z", (start, 0))
    read("ten-digits", "2020-01-01T00:00:00.1234567891Z", (start + 123_456_789, 0))
    read("offset", "2020-01-01T00:00:00+23:59", (start - 86_340 * 10**9, 86_340))
    read("minus-zero", "2020-01-01T00:00:00-00:00", (start, 0))
    read("leap-day-year-0", "0000-02-29T00:00:00Z", (-719469 * day, 0))
    for label, bad in {
        "small-t": "2020-01-01t00:00:00Z",
        "small-z": "2020-01-01T00:00:00z",
        "hour-24": "2020-01-01T24:00:00Z",
        "leap-second": "2020-01-01T23:59:60Z",
        "february-30": "2020-02-30T00:00:00Z",
        "no-leap-year": "2021-02-29T00:00:00Z",
        "no-fraction": "2020-01-01T00:00:00.Z",
        "no-seconds": "2020-01-01T00:00Z",
        "space": "2020-01-01 00:00:00Z",
        "five-digit-year": "10000-01-01T00:00:00Z",
        "no-zone": "2020-01-01T00:00:00",
        "empty": "",
    }.items():
        read(label, bad, None)


def _modes(out: Chapter) -> None:
    for label, st_mode, expected in (
        ("file", 0o100644, 420),
        ("dir", 0o040755, 2147484141),
        ("symlink", 0o120777, 134218239),
        ("block", 0o060644, 67109284),
        ("char", 0o020644, 69206436),
        ("fifo", 0o010644, 33554852),
        ("socket", 0o140644, 16777636),
        ("setuid-setgid", 0o106755, 12583405),
        ("sticky-dir", 0o041777, 2148532735),
        ("unknown", 0o000644, 524708),
    ):
        comment = "Seen in trees of restic 0.19.1." if label != "unknown" else ""
        out.add(f"mode-{label}", "mode", "TREE-10", {"st_mode": st_mode}, output={"mode": expected}, comment=comment)
