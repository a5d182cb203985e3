"""How far a reader has come: a position, kept by scope in the snapshots of the table it fills."""

from __future__ import annotations

Position = dict[str, object]
"""Where the next read begins: a JSON object only its source understands, e.g. `{"watermark": "..."}`."""
