#!/usr/bin/env python3
"""unpack_layers.py LAYOUT DIR: each layer of an OCI layout's first image into DIR/0, DIR/1, …, bottom first (fuse-overlayfs reads the markers)."""
import json
import os
import subprocess
import sys


def main():
    layout, to = sys.argv[1:]

    def blob(digest):
        return os.path.join(layout, "blobs", *digest.split(":"))

    def document(path):
        with open(path) as file:
            return json.load(file)

    index = document(os.path.join(layout, "index.json"))
    manifest = document(blob(index["manifests"][0]["digest"]))
    for number, layer in enumerate(manifest["layers"]):
        at = os.path.join(to, str(number))
        os.makedirs(at)
        subprocess.run(["tar", "-C", at, "--xattrs", "-xpf", blob(layer["digest"])], check=True)


if __name__ == "__main__":
    main()
