#!/usr/bin/env python3
"""entries.py N: writes a tar of N small files, a thousand to a directory, to stdout. For measuring what grows with their number."""
import sys


def header(name, kind, size):
    block = bytearray(512)
    fields = [(0, name), (100, b"0000755\0" if kind == b"5" else b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"),
              (124, b"%011o\0" % size), (136, b"14000000000\0"), (148, b" " * 8), (156, kind), (257, b"ustar\00000")]
    for at, value in fields:
        block[at:at + len(value)] = value
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def main():
    out = sys.stdout.buffer
    for number in range(int(sys.argv[1])):
        if number % 1000 == 0:
            out.write(header(b"tree/%06d/" % (number // 1000), b"5", 0))
        body = b"file %d\n" % number
        out.write(header(b"tree/%06d/file-%07d" % (number // 1000, number), b"0", len(body)) + body.ljust(512, b"\0"))
    out.write(bytes(1024))


if __name__ == "__main__":
    main()
