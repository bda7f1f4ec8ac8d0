"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(target: Path, text: str) -> Path:
    """Write text beside the target, then rename: a run that is stopped leaves the old file or the new one."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
