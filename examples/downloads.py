"""Download files: names, checksums, what failed, and what need not be fetched again.

python examples/downloads.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import os
import sys
import tempfile

import grequests


def main(base: str) -> None:
    items = [(f"{base}/page/{n}", f"page {n}.html") for n in range(20)]
    items.append(grequests.DownloadItem(f"{base}/page/1", name="wrong.html", sha256="0" * 64))
    items.append(f"{base}/status/404")

    with tempfile.TemporaryDirectory() as directory:
        for each in grequests.download(items, directory, concurrency=10, deadline=60):
            if not each.ok:
                print(f"{each.url}: {type(each.error).__name__} after {len(each.attempts)} attempt")

        # The second time it is all there.
        again = list(grequests.download(items[:20], directory, sha256=True))
        skipped = sum(each.skipped for each in again)
        size = sum(each.size for each in again)
        print(f"{skipped} of {len(os.listdir(directory))} files were there, {size} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
