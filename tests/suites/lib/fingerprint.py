"""Prints one digest of all that trees hold: names, attributes, contents."""

import hashlib
import os
import stat
import sys


def facts(path):
    found = os.lstat(path)
    yield os.fsencode(path)
    yield repr((found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns)).encode()
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        yield repr((name, os.getxattr(path, name, follow_symlinks=False))).encode()
    if stat.S_ISLNK(found.st_mode):
        yield os.fsencode(os.readlink(path))
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as file:
            yield file.read()


digest = hashlib.sha256()
for tree in sys.argv[1:]:
    for directory, directories, files in os.walk(tree):
        for name in [".", *sorted([*directories, *files])]:
            for fact in facts(os.path.join(directory, name)):
                digest.update(len(fact).to_bytes(8, "little") + fact)
        directories.sort()
print(digest.hexdigest())
