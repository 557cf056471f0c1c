"""Prints a tree, a line a path: all that outlasts a mount. With --numbers also inode numbers, where they can be kept."""

import hashlib
import os
import stat
import sys


def line(path, numbers):
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    facts = [path, oct(found.st_mode), found.st_uid, found.st_gid, found.st_rdev, found.st_mtime_ns]
    if kind != stat.S_IFDIR:
        facts += [found.st_size, found.st_nlink]
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            facts.append(hashlib.file_digest(file, "sha256").hexdigest())
    if kind == stat.S_IFLNK:
        facts.append(os.readlink(path))
    facts += [(name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(os.listxattr(path, follow_symlinks=False))]
    # An upper of a plain user has no place for the numbers of others.
    if numbers and kind in (stat.S_IFREG, stat.S_IFDIR):
        facts.append(found.st_ino)
    return repr(facts)


numbers = "--numbers" in sys.argv
os.chdir(sys.argv[1])
for top, directories, files in os.walk("."):
    directories.sort()
    for name in [".", *directories, *sorted(files)] if top == "." else [*directories, *sorted(files)]:
        print(line(os.path.join(top, name), numbers))
