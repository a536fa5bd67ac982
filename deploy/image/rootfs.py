"""Makes the file system of the image: shardns, Python and the programs it calls, and nothing else.

    rootfs.py PACKAGES ROOTFS

It is run in the Dockerfile's build stage and takes everything from there: PACKAGES is where pip has put shardns and
what it depends on. Programs bring the libraries that the loader says they need.

What is left out of Python: databases, terminals, XML, old character sets, tools for developers, and every source file
outside shardns's own (compiled ones are enough to run; shardns's own stay, for tracebacks with lines in them). OpenSSL,
the largest library here, stays: shardns speaks no TLS, but prometheus_client imports it. SQLite stays for pyroute2.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

OWN = ("shardns", "supervisor")
PROGRAMS = ("sh", "sleep", "cat", "nft", "xtables-nft-multi", "xtables-legacy-multi")
# The programs' other names. Plain `iptables` is what an operator types in the container; shardns names a variant.
LINKS = {
    f"{family}{variant}{tool}": f"xtables-{'legacy' if variant == '-legacy' else 'nft'}-multi"
    for family in ("iptables", "ip6tables")
    for variant in ("", "-nft", "-legacy")
    for tool in ("", "-save", "-restore")
}
ETC = ("protocols", "services", "gai.conf", "debian_version", "os-release")
# Every extension: iptables-save fails at the first rule, whoever made it, that it has none for.
EXTENSIONS = re.compile(r"lib(xt|ipt|ip6t)_\w+\.so")

# Of the standard library.
UNWANTED_FOLDERS = (
    "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "venv", "pydoc_data", "distutils",
    "dbm", "curses", "msilib", "xml", "xmlrpc", "__phello__", "site-packages", "dist-packages",
    "config-*", "__pycache__",
)  # fmt: skip
UNWANTED_MODULES = re.compile(
    r"(_curses.*|_dbm|_gdbm|_tkinter|readline|_lzma|_bz2|_crypt|nis|ossaudiodev|audioop|pyexpat"
    r"|_codecs_(cn|hk|iso2022|jp|kr|tw)|_test.*|_xx.*|xxlimited.*|_ctypes_test)\..*so"
)
UNWANTED_SOURCES = ("turtle.py", "pydoc.py", "doctest.py", "imaplib.py", "mailbox.py", "smtplib.py", "pickletools.py")

SCRIPT = """\
#!{python} -I
import sys
from supervisor.cli import main
sys.exit(main())
"""
IMPORTS = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
ACCOUNTS = "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def main(packages: Path, root: Path) -> None:
    """Nothing; root is a whole file system afterwards."""
    lay_out(root)
    python = Path(sys.executable).resolve()
    objects = [copy(python, root), *(copy(found(name), root) for name in PROGRAMS)]
    for link, program in LINKS.items():
        (root / "usr/sbin" / link).symlink_to(program)
    objects += copy_extensions(root)
    stdlib = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    copy_stdlib(stdlib, inside(root, stdlib))
    site = packages_folder(python)
    copy_packages(packages, inside(root, site))
    objects += [*inside(root, stdlib).rglob("*.so"), *inside(root, site).rglob("*.so")]
    copy_libraries(objects, root)
    strip(root)
    write_etc(root)
    script = root / "usr/bin/shardns"
    script.write_text(SCRIPT.format(python=python))
    script.chmod(0o755)
    (root / "node-cache").symlink_to("usr/bin/shardns")
    packages_of(root)
    check(root, python)


def lay_out(root: Path) -> None:
    """Nothing; the folders, with Debian's one place for programs and libraries."""
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "run", "var/lib"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    # What manifests mount over: with a read-only root some runtimes cannot make these places themselves.
    for name in ("etc/coredns", "etc/kube-dns", "run/shardns"):
        (root / name).mkdir()
    (root / "run/xtables.lock").touch()


def inside(root: Path, path: Path) -> Path:
    """Where a file of the build stage stands in root; /lib and /bin are links there."""
    relative = path.relative_to("/")
    if relative.parts[0] in ("bin", "sbin", "lib", "lib64"):
        relative = Path("usr", relative)
    return root / relative


def found(program: str) -> Path:
    """A program's file. Raises FileNotFoundError."""
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise FileNotFoundError(program)
    return Path(path)


def copy(path: Path, root: Path) -> Path:
    """The copy of a file, under the name it is called by: what a link leads to is copied in its place."""
    copied = inside(root, path)
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path.resolve(), copied)
    return copied


def copy_extensions(root: Path) -> list[Path]:
    """The copies of iptables' extensions."""
    for folder in Path("/").glob("usr/lib/*/xtables"):
        wanted = [path for path in sorted(folder.iterdir()) if EXTENSIONS.fullmatch(path.name)]
        return [copy(path, root) for path in wanted]
    raise FileNotFoundError("the extensions of iptables")


def copy_stdlib(source: Path, target: Path) -> None:
    """Nothing; the standard library, compiled, without docstrings and sources."""
    unwanted = shutil.ignore_patterns(*UNWANTED_FOLDERS, *UNWANTED_SOURCES)

    def ignore(folder: str, names: list[str]) -> set[str]:
        return set(unwanted(folder, names)) | {name for name in names if UNWANTED_MODULES.fullmatch(name)}

    shutil.copytree(source, target, ignore=ignore, ignore_dangling_symlinks=True)
    (target / "sitecustomize.py").unlink(missing_ok=True)  # a link of Debian's into /etc
    compiled(target, optimize=2)


def packages_folder(python: Path) -> Path:
    """Where that Python looks for packages that are not its own."""
    said = subprocess.run(
        [python, "-I", "-c", "import sys; print(*sys.path, sep='\\n')"], capture_output=True, text=True, check=True
    )
    return next(Path(line) for line in said.stdout.split() if line.endswith(("site-packages", "dist-packages")))


def copy_packages(source: Path, target: Path) -> None:
    """Nothing; shardns with its sources, and compiled what it depends on."""
    ignore = shutil.ignore_patterns("__pycache__", "*.dist-info", "bin", "*.c", "*.h", "*.pyi", "py.typed", "pycparser")
    shutil.copytree(source, target, ignore=ignore)
    for path in sorted(target.iterdir()):
        if path.is_dir() and path.name not in OWN:
            compiled(path, optimize=0)
    for name in OWN:
        compileall.compile_dir(target / name, quiet=1, stripdir=str(target), prependdir="", invalidation_mode=UNCHECKED)
    # Who asks for a version, shardns included, reads METADATA; of the rest of dist-info only licences are wanted.
    for info in source.glob("*.dist-info"):
        (target / info.name).mkdir()
        for name in ("METADATA", "licenses"):
            if (info / name).is_file():
                shutil.copy(info / name, target / info.name / name)
            elif (info / name).is_dir():
                shutil.copytree(info / name, target / info.name / name)


UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


def compiled(folder: Path, *, optimize: int) -> None:
    """Nothing; every source of the folder is compiled in its place and removed."""
    for path in sorted(folder.rglob("*.py")):
        py_compile.compile(
            str(path), f"{path}c", path.name, doraise=True, optimize=optimize, invalidation_mode=UNCHECKED
        )
        path.unlink()


def copy_libraries(objects: Sequence[Path], root: Path) -> None:
    """Nothing; every shared library that the objects need, and the loader."""
    for path in objects:
        for library in libraries(path):
            if not inside(root, library).exists():
                copy(library, root)
    (root / "etc/ld.so.conf").write_text("")
    folders = sorted({f"/{path.parent.relative_to(root)}" for path in (root / "usr").rglob("lib*.so.*")})
    (root / "etc/ld.so.conf").write_text("\n".join([*folders, ""]))
    subprocess.run(["/sbin/ldconfig", "-r", root, "-X"], check=True)


def libraries(path: Path) -> Iterator[Path]:
    """The libraries that a program or library is linked with, theirs and the loader included."""
    loader = next(place for folder in ("/lib64", "/lib") for place in sorted(Path(folder).glob("ld-linux*.so.*")))
    said = subprocess.run([loader, "--list", path], capture_output=True, text=True, check=False).stdout
    yield loader
    for line in said.splitlines():
        if "not found" in line:
            raise FileNotFoundError(f"{path}: {line.strip()}")
        if match := re.search(r"=> (/\S+) \(0x", line):
            yield Path(match[1])


def strip(root: Path) -> None:
    """Nothing; symbols that only a debugger reads are gone."""
    for path in [*(root / "usr").rglob("*.so"), *(root / "usr").rglob("*.so.*")]:
        if path.is_file() and not path.is_symlink():
            subprocess.run(["strip", "--strip-unneeded", path], check=True)


def write_etc(root: Path) -> None:
    """Nothing; the few files of /etc that libc and the programs read."""
    for name in ETC:
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name).resolve(), root / "etc" / name)
    (root / "etc/passwd").write_text(ACCOUNTS)
    (root / "etc/group").write_text(GROUPS)
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")


def packages_of(root: Path) -> None:
    """Nothing; what scanners read, and the licences: an entry per Debian package that something was taken from."""
    files = [f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    names = [name for file in files for name in (file, file.removeprefix("/usr")) if Path(name).exists()]
    if shutil.which("dpkg-query") is None:
        return
    said = subprocess.run(["dpkg-query", "-S", *names], capture_output=True, text=True, check=False).stdout
    owners = sorted({line.split(": ")[0].split(":")[0] for line in said.splitlines() if "diversion" not in line})
    status = root / "var/lib/dpkg/status.d"
    for owner in owners:
        status.mkdir(parents=True, exist_ok=True)
        entry = subprocess.run(["dpkg-query", "-s", owner], capture_output=True, text=True, check=True).stdout
        (status / owner).write_text(entry)
        licence = Path("/usr/share/doc", owner, "copyright")
        if licence.exists():
            copy(licence, root)


def check(root: Path, python: Path) -> None:
    """Nothing, when every module of shardns can be imported and every program runs, in root alone."""
    folder = inside(root, packages_folder(python))
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for name in OWN
        for path in sorted((folder / name).rglob("*.py"))
        if path.stem not in ("build", "__main__")
    ]
    subprocess.run(["chroot", root, python, "-I", "-c", IMPORTS, *modules], check=True)
    for words in (["nft", "-v"], ["iptables-legacy", "-V"], ["ip6tables-nft", "-V"]):
        subprocess.run(["chroot", root, *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
