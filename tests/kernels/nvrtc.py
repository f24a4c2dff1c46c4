"""NVRTC, the run-time compiler that CuPy uses, called from the wheel: it needs no GPU."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path

WHAT_TO_DO = (
    "the tests compile the CUDA sources with NVRTC, which is not installed; "
    "pip install -c constraints.txt -e '.[dev]' brings nvidia-cuda-nvrtc."
)


def load() -> ctypes.CDLL:
    """The library in the nvidia-cuda-nvrtc wheel; AssertionError with what to do without it."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    found = [p for folder in folders for p in sorted(folder.glob("*/lib/libnvrtc.so.*"))]
    assert found, WHAT_TO_DO
    # NVRTC looks for its built-in headers by name alone: they are found if they are loaded already.
    for builtins in found[-1].parent.glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins))
    library = ctypes.CDLL(str(found[-1]))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def compile_source(
    library: ctypes.CDLL,
    text: str,
    names: Sequence[str],
    options: Sequence[str],
    ptx: bool = False,
) -> bytes:
    """Machine code (or PTX) with all of `names`; AssertionError with the log if it fails."""

    def check(status: int) -> None:
        assert status == 0, library.nvrtcGetErrorString(status).decode()

    program = ctypes.c_void_p()
    check(
        library.nvrtcCreateProgram(
            ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None
        )
    )
    try:
        for name in names:
            check(library.nvrtcAddNameExpression(program, name.encode()))
        flags = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = library.nvrtcCompileProgram(program, len(options), flags)
        size = ctypes.c_size_t()
        check(library.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        check(library.nvrtcGetProgramLog(program, log))
        assert status == 0, log.value.decode()
        assert not log.value.strip(), log.value.decode()  # warnings too
        for name in names:
            lowered = ctypes.c_char_p()
            check(library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered)))
        kind = "PTX" if ptx else "CUBIN"
        check(getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size)))
        code = ctypes.create_string_buffer(size.value)
        check(getattr(library, f"nvrtcGet{kind}")(program, code))
        return code.raw
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
