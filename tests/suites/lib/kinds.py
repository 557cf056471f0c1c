"""The kinds of objects that a union has, for tests/suites/matrix: what the layers hold of each, and what makes it of that.

Run, it makes in two lowers, the first over the second, kinds/KIND and pairs/KIND/OTHER with what those start from."""

import os
import shutil
import stat
import sys
from pathlib import Path

OLD = 1_000_000_000


def text(path, content="lower\n"):
    Path(path).write_text(content)
    os.chmod(path, 0o4755 if "hard" in str(path) else 0o644)
    os.setxattr(path, "user.note", b"kept")


def tree(path, name="child"):
    os.mkdir(path)
    text(f"{path}/{name}", name * 50)
    os.mkdir(f"{path}/inner")
    text(f"{path}/inner/{name}")
    os.setxattr(path, "user.note", b"kept")


def linked(path):
    text(path)
    os.link(path, path + "-other")


def removed(path):
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def emptied(path):
    for name in os.listdir(path):
        removed(f"{path}/{name}")


def written(path):
    with open(path, "r+b") as file:
        file.write(b"copied\n")


def nothing(path):
    pass


def before(path):
    """Where what is going to be at a path was before."""
    return path + ".before"


class Kind:
    """`lower` and `top` make what the layers have at a path, `change` what is done to that in the mount."""

    def __init__(self, lower=nothing, top=nothing, change=nothing):
        self.lower, self.top, self.change = lower, top, change


KINDS = {
    "lower-file": Kind(text),
    "top-file": Kind(top=text),
    "both-file": Kind(lambda path: text(path, "hidden\n"), text),
    "hard-link": Kind(linked),
    "symlink": Kind(lambda path: (text(path + "-target"), os.symlink("symlink-target", path))),
    "dir-symlink": Kind(lambda path: (tree(path + "-target"), os.symlink("dir-symlink-target", path))),
    "dangling": Kind(lambda path: os.symlink("nowhere", path)),
    "fifo": Kind(lambda path: os.mknod(path, stat.S_IFIFO | 0o644)),
    "socket": Kind(lambda path: os.mknod(path, stat.S_IFSOCK | 0o644)),
    "lower-dir": Kind(tree),
    "top-dir": Kind(top=tree),
    "merged-dir": Kind(tree, lambda path: tree(path, "upper")),
    "empty-dir": Kind(os.mkdir),
    "file-over-dir": Kind(tree, text),
    "dir-over-file": Kind(text, tree),
    "new-file": Kind(change=text),
    "new-dir": Kind(change=tree),
    "copied-file": Kind(text, change=written),
    "copied-dir": Kind(tree, change=lambda path: (os.chmod(path, 0o711), written(path + "/child"))),
    "whiteout": Kind(text, change=removed),
    "remade-file": Kind(text, change=lambda path: (removed(path), text(path, "new\n"))),
    "opaque-dir": Kind(lambda path: tree(path, "old"), change=lambda path: (removed(path), tree(path))),
    "dir-over-whiteout": Kind(text, change=lambda path: (removed(path), os.mkdir(path))),
    "file-over-whiteout": Kind(tree, change=lambda path: (removed(path), text(path))),
    "moved-file": Kind(lambda path: text(before(path)), change=lambda path: os.rename(before(path), path)),
    "moved-dir": Kind(lambda path: tree(before(path)), change=lambda path: os.rename(before(path), path)),
    "linked-file": Kind(lambda path: text(before(path)), change=lambda path: os.link(before(path), path)),
    "emptied-dir": Kind(tree, lambda path: tree(path, "upper"), emptied),
    "absent": Kind(),
}


def places():
    """Each directory with the kinds in it, by name."""
    for name in KINDS:
        yield f"kinds/{name}", [name]
        for other in KINDS:
            yield f"pairs/{name}/{other}", [name, partner(name, other)]


def partner(name, other):
    """What an object of kind `other` is called that meets one of kind `name`."""
    return "other-" + other if name == other else other


def kind(name):
    return KINDS[name.removeprefix("other-")]


def main(top, lower):
    os.umask(0o022)
    for layer in (top, lower):
        for place, names in places():
            os.makedirs(f"{layer}/{place}")
            for name in names:
                make = kind(name).top if layer == top else kind(name).lower
                make(f"{layer}/{place}/{name}")
        for place in ("kinds", "pairs"):
            for directory, _, files in os.walk(f"{layer}/{place}", topdown=False):
                for name in [*files, "."]:
                    os.utime(f"{directory}/{name}", (OLD, OLD), follow_symlinks=False)


if __name__ == "__main__":
    main(*sys.argv[1:3])
