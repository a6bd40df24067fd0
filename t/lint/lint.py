#!/usr/bin/python3
"""Checks of the source text; each counts as one test.

usage: t/lint/lint.py BUILD [CHECK...]   (BUILD/man holds the expanded manual pages)

What a check lets pass stands in EXCEPTIONS, with its reason.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = int(os.environ.get("JOBS", os.cpu_count()))
PRODUCT = ("master", "helper", "worker", "ctl", "common")
MAX_LINES = 700
MAX_COLUMNS = 100

# Layer: what it may include beside itself. The longest match names a file's layer.
LAYERS = {
    "common/base": [],
    "common/core": ["common/base"],
    "common/net": ["common/base", "common/core"],
    "common/tls": ["common/base", "common/core"],
    "common/jwt": ["common/base", "common/core"],
    "common/route": ["common/base", "common/core"],
    "worker/io": ["common"],
    "worker/up": ["worker/io", "common"],
    "worker/http": ["worker/io", "common"],
    "worker/proxy": ["worker/up", "worker/http", "worker/io", "common"],
    "worker": ["worker", "common"],
    "helper": ["worker/io", "common"],
    "master": ["common"],
    "ctl": ["common"],
    "t": ["t", *PRODUCT],
}
# Headers of libraries, and the only layers that know them; the rest in <> has to be libc's (and
# the kernel's) by its folder.
LIBRARIES = {
    "ares.h": ["common/net"],
    "ini.h": ["common/core"],
    "pcre2.h": ["common/base"],
    "crypt.h": ["worker/proxy"],
    "zlib.h": ["worker/http", "t"],
    "zstd.h": ["worker/http", "t"],
    "brotli/encode.h": ["worker/http"],
    "llhttp.h": ["worker/http", "helper"],
    "openssl/": ["common/tls", "common/jwt", "worker/io", "helper", "t"],
    "check.h": ["t"],
    "sanitizer/asan_interface.h": ["common/base", "worker/io"],
}
LIBC_FOLDERS = ("", "sys", "net", "netinet", "arpa", "linux")
FORBIDDEN = ("strcpy", "strcat", "sprintf", "vsprintf", "strtok", "strtok_r", "atoi", "atol",
             "alloca", "gets", "NDEBUG")
# (check, path or symbol): why it stands.
EXCEPTIONS = {
    ("globals", "common/base/log.c:log_root"): "the log is the one thing every function reaches",
    ("globals", "common/base/backtrace.c:crash"): "what a handler of SIGSEGV has to find",
    ("globals", "common/base/hash.c:seed"): "drawn once at start, the same in all processes",
    ("globals", "common/base/proctitle.c:title"): "the kernel's argv, of which there is one",
    ("globals", "ctl/screen.c:screen"): "the terminal, that whatever ends rpctl has to restore",
    ("globals", "common/base/strbuf.c:nothing"): "an empty string's NUL, never written to",
}

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def excepted(name, what):
    return (name, what) in EXCEPTIONS


def files(*suffixes, under=(*PRODUCT, "t")):
    found = []
    for top in under:
        for folder, _, names in os.walk(top):
            found += [os.path.join(folder, n) for n in names if n.endswith(suffixes)]
    return sorted(found)


def scripts(interpreter):
    """Files whose first line names the interpreter."""
    found = []
    for path in files("", under=("t", "etc", "man", ".ci")):
        with open(path, "rb") as stream:
            first = stream.readline()
        if first.startswith(b"#!") and interpreter in first.decode(errors="replace"):
            found.append(path)
    return found


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def code_of(text):
    """C without comments and literals, lines kept."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''

    def blank(match):
        literal = match.group()
        return re.sub(r"[^\n]", " ", literal) if literal[0] == "/" else literal[0] * 2
    return re.sub(pattern, blank, text, flags=re.S)


def run(command, **more):
    """The output of a command that failed, or nothing."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=more.pop("stdin", subprocess.DEVNULL), text=True, check=False,
                          **more)
    if done.returncode == 0:
        return []
    return [done.stdout.strip() or "{}: status {}".format(command[0], done.returncode)]


def each(function, items):
    """function's complaints about all items, some at a time; no items is a complaint."""
    if not items:
        return ["nothing to look at"]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return [line for lines in pool.map(function, items) for line in lines]


def flags():
    return subprocess.run(["make", "-s", "print-flags", "WERROR=1"], stdout=subprocess.PIPE,
                          check=True, text=True).stdout.split()


def layer_of(path):
    folder = os.path.dirname(path)
    while folder and folder not in LAYERS:
        folder = os.path.dirname(folder)
    return folder


def include_problem(path, mark, included):
    layer = layer_of(path)
    if not layer:
        return "belongs to no layer"
    if mark == "<":
        name = "openssl/" if included.startswith("openssl/") else included
        if name in LIBRARIES:
            knows = LIBRARIES[name]
            return None if layer in knows else "only {} knows it".format(", ".join(knows))
        folder = os.path.dirname(included)
        return None if folder in LIBC_FOLDERS else "header of an unknown library"
    if not os.path.exists(included):
        return "is not a path from the root of the tree"
    target = layer_of(included)
    if layer == "ctl" and target in ("common/tls", "common/net"):
        return "rpctl goes without OpenSSL and c-ares"
    allowed = [layer, *LAYERS[layer]]
    if not any(target == a or target.startswith(a + "/") for a in allowed):
        return "{} may not include {}".format(layer, target)
    return None


@check
def layers(_build):
    """An arrow of includes points downwards only."""
    complaints = []
    for path in files(".c", ".h", ".def", ".inc"):
        for number, line in enumerate(read(path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
            problem = match and include_problem(path, *match.groups())
            if problem and not excepted("layers", path):
                complaints.append("{}:{}: {}: {}".format(path, number, match.group(2), problem))
    return complaints


def header_alone(compiler):
    options = flags()

    def compile_header(path):
        # Twice, to see its guard work.
        text = '#include "{0}"\n#include "{0}"\n'.format(path)
        done = subprocess.run([compiler, *options, "-fsyntax-only", "-x", "c", "-"], input=text,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        return [done.stdout] if done.returncode else []
    return each(compile_header, files(".h"))


@check
def headers_alone_gcc(_build):
    """Each header compiles alone."""
    return header_alone("gcc")


@check
def headers_alone_clang(_build):
    """Each header compiles alone."""
    return header_alone("clang")


@check
def guards(_build):
    """A header's guard is RPD_ and the end of its path."""
    complaints = []
    for path in files(".h"):
        whole = re.sub(r"[^A-Z0-9]", "_", path.upper())
        match = re.search(r"^#ifndef (\w+)\n#define \1\n", read(path), re.M)
        name = match.group(1) if match else ""
        if not name.startswith("RPD_") or not ("_" + whole).endswith(name[3:]):
            complaints.append("{}: guard '{}'".format(path, name))
    return complaints


def is_mutable(line):
    """nm's letters of data that is not constant (without -fpie; relocated constants are)."""
    return re.search(r" [bBdDC] ", line) is not None


@check
def compile_gcc(_build):
    """No warning of gcc, and no mutable data outside of functions' frames."""
    options = flags()

    def compile_source(path):
        with tempfile.NamedTemporaryFile(suffix=".o") as obj:
            complaints = run(["gcc", *options, "-O2", "-fno-pie", "-c", "-o", obj.name, path])
            if complaints or path.startswith("t/"):
                return complaints
            symbols = subprocess.run(["nm", obj.name], stdout=subprocess.PIPE, text=True,
                                     check=True).stdout.splitlines()
        return ["{}: mutable global: {}".format(path, line.split()[-1])
                for line in symbols if is_mutable(line)
                and not excepted("globals", path + ":" + line.split()[-1].split(".")[0])]
    return each(compile_source, files(".c"))


@check
def compile_clang(_build):
    """No warning of clang."""
    options = flags()
    return each(lambda path: run(["clang", *options, "-fsyntax-only", path]), files(".c"))


@check
def clang_tidy(_build):
    """No finding of the checks in .clang-tidy."""
    options = [o for o in flags() if o != "-Werror"]

    def tidy(path):
        return [re.sub(r"^\d+ warnings? .*generated\.\n", "", text)
                for text in run(["clang-tidy", "--quiet", path, "--", *options])]
    return each(tidy, files(".c", under=PRODUCT))


@check
def sizes(_build):
    """No file and no line is too long; no tab, no blank at a line's end."""
    complaints = []
    for path in [*files(".c", ".h", ".def", ".inc", ".py"), *scripts("python"), *scripts("sh")]:
        lines = read(path).split("\n")
        if len(lines) - 1 > MAX_LINES and not excepted("sizes", path):
            complaints.append("{}: {} lines".format(path, len(lines) - 1))
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                complaints.append("{}:{}: {} columns".format(path, number, len(line)))
            if line != line.rstrip() or "\t" in line:
                complaints.append("{}:{}: tab, or blank at the end".format(path, number))
    return complaints


@check
def style(_build):
    """What STYLE's "never" and its rules for files say and a pattern can find."""
    complaints = []
    for path in files(".c", ".h", under=PRODUCT):
        text = read(path)
        code = code_of(text)
        if not text.startswith("/* "):
            complaints.append(path + ":1: no header comment")
        for match in re.finditer(r"\b({})\b".format("|".join(FORBIDDEN)), code):
            line = code.count("\n", 0, match.start()) + 1
            complaints.append("{}:{}: {}".format(path, line, match.group()))
        for match in re.finditer(r"^\s*typedef\b([^;]*)", code, re.M):
            if "(" not in match.group(1) or "{" in match.group(1):
                line = code.count("\n", 0, match.start()) + 1
                complaints.append("{}:{}: typedef".format(path, line))
    return complaints


@check
def manuals(build):
    """mandoc has nothing to warn of, and no table was left out."""
    def lint_page(path):
        left = re.findall(r"^@.*@$", read(path), re.M)
        return run(["mandoc", "-T", "lint", "-W", "warning", path]) + left
    return each(lint_page, sorted(glob.glob(build + "/man/*.[1-9]")))


@check
def shell(_build):
    """Scripts parse."""
    return (each(lambda path: run(["sh", "-n", path]), scripts("/bin/sh"))
            + each(lambda path: run(["bash", "-n", path]), glob.glob("etc/bash-completion/*")))


@check
def python(_build):
    """Scripts parse."""
    def parse(path):
        try:
            compile(read(path), path, "exec")
        except SyntaxError as error:
            return ["{}:{}: {}".format(path, error.lineno, error.msg)]
        return []
    return each(parse, sorted({*files(".py"), *scripts("python")}))


def main(build, *wanted):
    passed = failed = 0
    for function in CHECKS:
        if wanted and function.__name__ not in wanted:
            continue
        complaints = function(build)
        print("{:4} {}: {}".format("FAIL" if complaints else "ok", function.__name__,
                                   function.__doc__))
        for line in complaints:
            print("    " + line.replace("\n", "\n    "))
        sys.stdout.flush()
        passed, failed = passed + (not complaints), failed + bool(complaints)
    print("{} passed, {} failed".format(passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
