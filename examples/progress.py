"""Show a progress bar (needs tqdm: pip install 'grequests[progress]').

python examples/progress.py [URL]      without a URL, a local server is started
"""

from __future__ import annotations

import sys

from tqdm import tqdm

import grequests


def main(base: str) -> None:
    requests = [grequests.get(f"{base}/page/{number}", timeout=10) for number in range(3000)]
    answers = grequests.imap_enumerated(requests, size=50)
    found = sum(response is not None for _, response in tqdm(answers, total=len(requests)))
    print(f"{found} of {len(requests)} answered")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        from grequests._demo import serving

        with serving() as server:
            main(server.url)
