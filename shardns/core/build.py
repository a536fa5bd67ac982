"""Builds shardns.core._core: the C core behind cffi (API mode, limited API: one wheel for every Python).

The declarations are the headers themselves, run through the preprocessor with SHD_CDEF defined, so nothing is
written twice. Run by setuptools (`cffi_modules`), or by hand: `python -m shardns.core.build`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
HEADERS = (
    "base.h",
    "hash.h",
    "wire.h",
    "entry.h",
    "reply.h",
    "asks.h",
    "table.h",
    "counters.h",
    "rules.h",
    "segments.h",
    "answer.h",
    "serve.h",
    "finish.h",
    "frames.h",
)
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")


def compiler() -> list[str]:
    """The C compiler's command: $CC, else what Python was built with, else cc."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def declarations() -> str:
    """The headers as cffi reads them: preprocessed, each once, without system headers."""
    includes = "".join(f'#include "{name}"\n' for name in HEADERS if (HERE / name).exists())
    command = [*compiler()[:1], "-E", "-P", "-DSHD_CDEF", f"-I{HERE}", "-"]
    done = subprocess.run(command, input=includes, capture_output=True, text=True, check=True)
    return done.stdout


def builder() -> FFI:
    """The cffi builder for setuptools; paths are relative to the project, as setuptools wants them."""
    ffi = FFI()
    ffi.cdef(declarations())
    root = HERE.parent.parent
    ffi.set_source(
        "shardns.core._core",
        "#define SHD_PLAIN\n" + "".join(f'#include "{name}"\n' for name in HEADERS if (HERE / name).exists()),
        sources=[os.path.relpath(path, root) for path in sorted(HERE.glob("*.c")) if path.name != "_core.c"],
        include_dirs=[os.path.relpath(HERE, root)],
        depends=[os.path.relpath(path, root) for path in sorted(HERE.glob("*.h"))],
        extra_compile_args=list(FLAGS),
        py_limited_api=True,
    )
    return ffi


ffibuilder = builder()

if __name__ == "__main__":
    os.chdir(HERE.parent.parent)
    ffibuilder.compile(verbose=True)
