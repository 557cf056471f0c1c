"""Prints a root directory, a line a path: what has to be the same wherever it was made. Times of making are not, nor are
logs, caches and what holds such a time in itself."""

import hashlib
import os
import re
import stat
import sys

EACH_ITS_OWN = re.compile(
    rb"^\./(var/log/|var/cache/|var/lib/apt/|var/lib/dpkg/(info/.*\.list$|triggers/Lock)|root/|tmp/|run/|srv/(origin|clone)/\.git/(index|logs/|FETCH_HEAD)"
    rb"|etc/(ld\.so\.cache|ssl/private/|ssl/certs/ssl-cert|machine-id|shadow|\.pwd\.lock)|srv/db$|etc/postgresql/|var/lib/postgresql/)"
)
MADE_RECENTLY = 1_750_000_000


def line(path):
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    facts = [path, oct(found.st_mode), found.st_uid, found.st_gid, found.st_rdev]
    if kind != stat.S_IFDIR:
        facts.append(found.st_nlink)
    if kind == stat.S_IFLNK:
        facts.append(os.readlink(path))
    if kind == stat.S_IFREG and not EACH_ITS_OWN.match(path):
        with open(path, "rb") as file:
            facts.append(hashlib.file_digest(file, "sha256").hexdigest())
    if found.st_mtime < MADE_RECENTLY:
        facts.append(found.st_mtime_ns)
    facts += [(name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(os.listxattr(path, follow_symlinks=False))]
    return repr(facts)


os.chdir(sys.argv[1])
for top, directories, files in os.walk(b"."):
    directories.sort()
    for name in sorted([*directories, *files]):
        print(line(os.path.join(top, name)))
