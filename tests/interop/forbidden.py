"""Runs a command for which io_uring does not exist: forbidden.py ERRNO COMMAND [ARGUMENT...]

As in a container: a seccomp filter answers io_uring_setup with the error, and nothing else. It
holds for this process and the command that it becomes.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
IO_URING_SETUP = 425  # On every architecture.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ANSWER_WITH_ERROR, ALLOW = 0x00050000, 0x7FFF0000


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def forbid(error):
    """Forbids io_uring to this process, for ever."""
    instructions = [
        (LOAD, 0, 0, 0),  # The number of the system call comes first in what is looked at.
        (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, ANSWER_WITH_ERROR | error),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    kept = ctypes.create_string_buffer(code, len(code))
    program = Program(len(instructions), ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    # Without it a filter takes root.
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "a seccomp filter")


if __name__ == "__main__":
    forbid(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
