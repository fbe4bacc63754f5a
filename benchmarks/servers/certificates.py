"""Makes the benchmark's certificates; runs in the ``tools`` environment.

    python -m servers.certificates FOLDER HOST...

Writes ``ca.pem`` (our authority alone), ``bundle.pem`` (certifi's public authorities and ours: the
size of bundle that a client loads in real life), and a chain and key for each HOST.
"""

from __future__ import annotations

import sys
from pathlib import Path

import certifi
import trustme


def main(folder: Path, hosts: list[str]) -> None:
    """Write everything into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    public = Path(certifi.where()).read_bytes()
    (folder / "bundle.pem").write_bytes(public + b"\n" + authority.cert_pem.bytes())
    for host in hosts:
        issued = authority.issue_cert(host)
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{host}.pem")
    (folder / "hosts").write_text("\n".join(hosts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
