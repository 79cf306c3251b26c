"""Two names swapped in one atomic step, which no rename can do: there is never a moment when either is missing.

    exchange(new, old)      afterwards `old` names what was new, and `new` what was old

Linux has it as renameat2(2) with the flag RENAME_EXCHANGE, in ext4, xfs, btrfs and tmpfs among others; Python does
not offer it. Both names must be on one file system.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100        # linux/fcntl.h: relative paths count from the working directory
_RENAME_EXCHANGE = 2    # linux/fs.h

# No such call in the kernel; not in this file system (twice, by its taste); two file systems.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV)


def exchange(new: Path, old: Path) -> None:
    """Swaps the names. ValueError where kernel or file system cannot, OSError for what else can go wrong."""
    number = _call_renameat2(os.fsencode(new), os.fsencode(old))
    if number in _CANNOT:
        raise ValueError(
            f"{old}: this file system cannot swap two directories in one step ({os.strerror(number)})\n\n"
            "hint: `kdsweep export DIR --parquet OUTDIR` writes a compacted copy"
        )
    if number:
        raise OSError(number, os.strerror(number), str(new), None, str(old))


def _call_renameat2(new: bytes, old: bytes) -> int:
    """The error's number, 0 for none."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc has it since 2.28
    if renameat2 is None:
        return errno.ENOSYS
    renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    done = renameat2(_AT_FDCWD, new, _AT_FDCWD, old, _RENAME_EXCHANGE)
    return 0 if done == 0 else ctypes.get_errno()
