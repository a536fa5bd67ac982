"""What pyproject.toml cannot say: the C core is a cffi module, and one wheel serves every CPython from 3.11 on."""

from setuptools import setup

setup(
    cffi_modules=["shardns/core/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
