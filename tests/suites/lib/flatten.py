"""Lays one directory over another, in place: of files the upper one stays, of directories both, as a union shows them."""

import os
import shutil
import sys
from pathlib import Path

from kinds import removed


def lay_over(layer, onto):
    for entry in os.scandir(layer):
        target = onto / entry.name
        if entry.is_dir(follow_symlinks=False) and target.is_dir():
            lay_over(entry.path, target)
            continue
        if target.exists():
            removed(target)
        shutil.copytree(entry.path, target) if entry.is_dir() else shutil.copy2(entry.path, target)
    shutil.copystat(layer, onto)


if __name__ == "__main__":
    lay_over(sys.argv[1], Path(sys.argv[2]))
