"""Creates the laptop's own token, unless there is a valid one.

Started as `python -I -S first_token.py FILE PATH…` with the authorizer's environment, because the code that makes and
stores tokens is in the project's layer. It must not import from `local`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Put a token with every scope into the file, and its hash into the table of tokens."""
    file, *paths = sys.argv[1:]
    sys.path[:0] = paths
    import boto3  # noqa: PLC0415 - from the layer, which is only now on the path

    from customers.store.tokens import TokenStore  # noqa: PLC0415
    from customers.tokens import SCOPES, new_token, token_hash  # noqa: PLC0415

    client = boto3.client("dynamodb")
    store = TokenStore(client, os.environ["TOKENS_TABLE"])
    path = Path(file)
    if path.exists():
        record = store.get(token_hash(path.read_text(encoding="ascii").strip()))
        if record is not None and record.valid_at(time.time()):
            return
    token = new_token()
    store.put(token_hash=token_hash(token), scopes=SCOPES, label="laptop", expires_at=None)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    # Nobody else may read it, not even for the moment between creation and chmod.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as output:
        output.write(token + "\n")
    partial.rename(path)


if __name__ == "__main__":
    main()
