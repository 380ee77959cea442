# The common requirements of all scripts of this repository: Debian packages, Rust, the Python environment,
# and the display of long steps. The file is sourced, never run:
#
#     . "$(dirname "$0")/lib/setup.sh"
#     setup_packages $PACKAGES_BUILD
#     setup_rust
#     step "building the module" cargo build --release
#
# A setup_ function does nothing, and prints nothing, if its part is installed already.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET=$ROOT/target
VENV=$TARGET/venv

# nginx-dev contains nginx's sources and configure flags, libclang-dev the parser that bindgen uses.
PACKAGES_BUILD="nginx nginx-dev gcc libc6-dev make libclang-dev"
# PyPI has uWSGI as source only, so that running a site needs the compiler, too.
PACKAGES_RUN="nginx memcached python3 python3-venv python3-dev gcc libc6-dev"
# Packages for the tests only. srcache fills a cache like other sites; Debian makes the nginx that it starts
# load each of its modules, which have no effect without their directives. nutcracker is twemproxy. The last
# four lines are memcached clients in other languages; setup_npm installs those from npm.
PACKAGES_TEST="curl python3-prometheus-client libnginx-mod-http-srcache-filter libnginx-mod-http-memc
    nutcracker python3-pylibmc python3-memcache
    libcache-memcached-perl libcache-memcached-fast-perl
    php-cli php-memcached php-memcache
    ruby ruby-dalli"
# The packages that scripts/bench always needs; the measured peers name their own. linux-perf counts system
# calls.
PACKAGES_BENCH="nginx memcached wrk linux-perf util-linux python3 python3-venv"

RUST_MINOR=85 # 1.85: what Debian 12 began with as rustc-web, the first with edition 2024

# Debian installs nginx in a folder that is not in the PATH of ordinary users.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# setup_packages PKG...: installs the missing ones of Debian's packages.
setup_packages() {
    local missing=() package
    for package in "$@"; do
        # The lists overlap: name each package once.
        [[ " ${missing[*]} " == *" $package "* ]] || package_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    if [ "$(id -u)" != 0 ]; then
        packages_may_be_installed || packages_by_hand "${missing[@]}"
        # The password is asked for here, where no progress line can overwrite the question.
        sudo -v || packages_by_hand "${missing[@]}"
    fi
    say "installing: ${missing[*]}"
    step "reading Debian's package lists" as_root apt-get update
    step "installing Debian packages" install_packages "${missing[@]}"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages_may_be_installed() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

package_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

packages_by_hand() {
    die "packages are missing, and there is neither root nor sudo to install them. Run as root:
    apt-get install --no-install-recommends $*"
}

# Debian starts a service when it is installed: nginx would take port 80, memcached 11211. The policy file
# forbids this while apt runs; if the machine has a policy file already, it is not changed.
install_packages() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap "as_root rm -f $policy" EXIT
        # 101 is that interface's "forbidden by policy".
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy
        as_root chmod 755 $policy
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$@"
}

# setup_rust: adds a cargo and a rustc that are new enough to PATH, Debian's if there is no other.
setup_rust() {
    local folder
    setup_packages $(rust_packages)
    folder=$(rust_folder) || die "Rust 1.$RUST_MINOR or newer is needed: see https://rustup.rs"
    PATH=${folder:+$folder:}$PATH
}

# rust_packages: the packages that setup_rust would install, for a script that installs all its packages at
# once. Debian 12 has a second Rust that is new enough, with names that end in -web; later releases have one
# as rustc.
rust_packages() {
    if rust_folder >/dev/null; then return; fi
    # cargo downloads crates over https
    echo ca-certificates
    debian_rust_packages
}

# debian_rust_packages: Debian's own Rust, whether or not there is another one.
debian_rust_packages() {
    local minor
    minor=$(offered_rust_minor)
    if [ -z "$minor" ] && packages_may_be_installed; then
        step "reading Debian's package lists" as_root apt-get update >&2
        minor=$(offered_rust_minor)
    fi
    if [ "${minor:-0}" -ge $RUST_MINOR ]; then echo rustc cargo; else echo rustc-web cargo-web; fi
}

offered_rust_minor() { apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: 1\.\([0-9]*\)\..*/\1/p'; }

# rust_tool_packages: rustfmt and clippy for the cargo at /usr/bin/cargo; Debian packages them separately.
rust_tool_packages() {
    if package_installed cargo-web; then echo rustfmt-web rust-web-clippy; else echo rustfmt rust-clippy; fi
}

# rust_folder: the folder of a cargo and a rustc that are new enough; an empty line if those in PATH are.
rust_folder() {
    local folder
    for folder in "" "${HOME:-/root}/.cargo/bin" /usr/bin; do
        if rust_new_enough "$folder"; then
            echo "$folder"
            return
        fi
    done
    return 1
}

# rust_new_enough FOLDER: whether the cargo and rustc of a folder, or of PATH, are at least RUST_MINOR.
rust_new_enough() {
    local tool version
    for tool in rustc cargo; do
        version=$("${1:+$1/}$tool" --version 2>/dev/null) || return 1
        [[ $version =~ ^$tool\ 1\.([0-9]+)\. ]] || return 1
        [ "${BASH_REMATCH[1]}" -ge $RUST_MINOR ] || return 1
    done
}

# setup_oldest_rust: installs Debian's Rust 1.RUST_MINOR at target/rust-1.RUST_MINOR, beside any newer one.
setup_oldest_rust() {
    OLDEST_RUST=$TARGET/rust-1.$RUST_MINOR
    environment "$OLDEST_RUST" "$(dpkg --print-architecture) $(debian_release)" \
        "unpacking Debian's Rust 1.$RUST_MINOR" make_oldest_rust
    setup_packages $(<"$OLDEST_RUST/libraries")
}

make_oldest_rust() {
    local of_rust package
    of_rust=$(oldest_rust_packages)
    if [ -z "$of_rust" ]; then
        as_root apt-get update
        of_rust=$(oldest_rust_packages)
    fi
    [ -n "$of_rust" ] || die "Debian's packages have no Rust 1.$RUST_MINOR any more: raise rust-version"
    rm -rf "$OLDEST_RUST"
    mkdir -p "$OLDEST_RUST/packages"
    (cd "$OLDEST_RUST/packages" && apt-get download $of_rust $(needed 'llvm' $of_rust)) || return
    for package in "$OLDEST_RUST/packages/"*.deb; do
        dpkg-deb --extract "$package" "$OLDEST_RUST" || return
    done
    rm -r "$OLDEST_RUST/packages"
    needed '(curl|git2|http-parser|pcre|sqlite|ssh2|ssl)' $of_rust >"$OLDEST_RUST/libraries"
}

# oldest_rust_packages: the packages of Rust 1.RUST_MINOR that apt offers, as PACKAGE=VERSION. In Debian 12
# their names contain -web, in Debian 13 they do not.
oldest_rust_packages() {
    local web version
    for web in -web ""; do
        version=$(apt-cache madison "rustc$web" | grep -o -m1 "\b1\.$RUST_MINOR\.[^ ]*") || continue
        printf '%s\n' {rustc,cargo}"$web=$version" "libstd-rust$web-"{dev,1.$RUST_MINOR}"=$version"
        return
    done
}

debian_release() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# needed LIBRARY PACKAGE=VERSION...: the packages of a library that they need; some have other names in Debian
# 13.
needed() {
    apt-cache show "${@:2}" | sed -n 's/^Depends: //p' | grep -o -E "\blib$1[^ ,]*" | sort -u
}

# oldest_rust COMMAND...: runs it with that Rust.
oldest_rust() {
    PATH=$OLDEST_RUST/usr/bin:$PATH \
        LD_LIBRARY_PATH=$(echo "$OLDEST_RUST"/usr/lib/*-linux-gnu):$(echo "$OLDEST_RUST"/usr/lib/llvm-*/lib) "$@"
}

# setup_npm: installs the packages of tests/clients/package.json at target/clients/node_modules.
setup_npm() {
    local wanted
    wanted=$(cat "$ROOT/tests/clients/"package*.json | sha256sum)
    environment "$TARGET/clients" "$wanted" "installing packages from npm" make_npm
}

# npm_packages: the packages that setup_npm needs. Some Node packages contain an npm of their own, and
# conflict with Debian's.
npm_packages() { command -v npm >/dev/null || echo nodejs npm; }

make_npm() {
    rm -rf "$TARGET/clients"
    mkdir "$TARGET/clients"
    cp "$ROOT/tests/clients/"package*.json "$TARGET/clients"
    npm ci --prefix "$TARGET/clients" --ignore-scripts --no-audit --no-fund
}

# setup_venv: a Python environment at target/venv with demo/requirements.txt and the django package.
setup_venv() {
    python_environment "$VENV" "making the Python environment (uWSGI is compiled)" make_venv \
        "$ROOT/demo/requirements.txt"
}

PIP_OPTIONS=() # more of them, for make_python_packages

# setup_python_packages NAME REQUIREMENTS...: installs Python packages at target/NAME, for PYTHONPATH in
# addition to the environment's own.
setup_python_packages() {
    PYTHON_PACKAGES=$TARGET/$1
    PYTHON_REQUIREMENTS=("${@:2}")
    python_environment "$PYTHON_PACKAGES" "installing ${1/-/ } for Python" make_python_packages \
        "${PYTHON_REQUIREMENTS[@]}"
}

# setup_django_middlewares: what django/tests/fullsite runs with, at target/django-middlewares. It is one for each Django.
setup_django_middlewares() {
    PIP_OPTIONS=(--no-deps)
    setup_python_packages django-middlewares "$ROOT/django/tests/middlewares.txt"
    PIP_OPTIONS=()
    DJANGO_MIDDLEWARES=$PYTHON_PACKAGES
}

# setup_http3: the client of tests/clients/http3.py, at target/http3.
setup_http3() { setup_python_packages http3 "$ROOT/tests/clients/http3.txt"; }

make_python_packages() {
    rm -rf "$PYTHON_PACKAGES"
    "$VENV/bin/pip" install --disable-pip-version-check "${PIP_OPTIONS[@]}" --only-binary :all: --target "$PYTHON_PACKAGES" \
        "${PYTHON_REQUIREMENTS[@]/#/--requirement=}"
    if grep -q '^pylibmc' "${PYTHON_REQUIREMENTS[@]}" && [ ! -e "$PYTHON_PACKAGES/pylibmc" ]; then
        # PyPI has compiled packages for older Pythons only, Debian for its own.
        ln -s /usr/lib/python3/dist-packages/{pylibmc,_pylibmc.*.so} "$PYTHON_PACKAGES"
    fi
}

# python_environment FOLDER TEXT MAKE REQUIREMENTS...: runs MAKE as the step TEXT, unless FOLDER was made from
# these requirements.
python_environment() {
    local folder=$1 text=$2 make=$3 wanted
    shift 3
    # An environment contains its own path and that of its Python.
    wanted=$({ echo "$folder" && /usr/bin/python3 --version && cat "$@"; } | sha256sum)
    environment "$folder" "$wanted" "$text" "$make"
}

# environment FOLDER WANTED TEXT MAKE: runs MAKE as the step TEXT, unless FOLDER was made with the digest of
# WANTED.
environment() {
    local folder=$1 wanted=$2 text=$3 make=$4 stamp=$1/made-of.sha256 lock
    mkdir -p "${folder%/*}"
    # Two scripts that run at the same time must not both make it.
    exec {lock}>"$folder.lock"
    flock "$lock"
    # The stamp is written last: an environment without one is incomplete, and is made again.
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        step "$text" "$make"
        printf '%s\n' "$wanted" >"$stamp"
    fi
    exec {lock}>&-
}

make_venv() {
    rm -rf "$VENV"
    # Not PATH's python3: another one may lack the headers that uWSGI is compiled with.
    /usr/bin/python3 -m venv "$VENV"
    # Not pip's cache: its uWSGI may be linked to the library of that other Python.
    "$VENV/bin/pip" install --disable-pip-version-check --no-cache-dir --no-binary uWSGI \
        -r "$ROOT/demo/requirements.txt"
    # A path file instead of an editable install: there is nothing to build, and it is never out of date.
    printf '%s\n' "$ROOT/django" >"$("$VENV/bin/python" -c 'import site; print(site.getsitepackages()[0])')/pagecache.pth"
}

# in_folder DIR COMMAND...: runs it there; for step, which takes a command rather than a shell script.
in_folder() { (cd "$1" && shift && "$@"); }

# step TEXT COMMAND...: runs a long command with one line of progress. Its output is written to a log; if it
# fails, the end of the log is shown and the script ends.
step() {
    local text=$1 log started=$SECONDS shown=0 pid
    shift
    log=$TARGET/log/${text//[^[:alnum:]]/-}.log
    mkdir -p "$TARGET/log"
    # In the background, so that a script's own traps run immediately, rather than after the command; bash
    # would make it ignore Ctrl-C there.
    (trap - INT QUIT; "$@") >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        step_progress
        sleep 0.2
    done
    if ! wait "$pid"; then
        step_line " failed\n"
        tail -n 30 "$log" >&2
        die "$text failed; the whole log: $log"
    fi
    step_line " done\n"
}

# A terminal's line is rewritten as time passes; a log file gets a new one every ten seconds.
step_progress() {
    local elapsed=$((SECONDS - started))
    if [ -t 1 ]; then
        step_line ""
    elif [ $((elapsed - shown)) -ge 10 ]; then
        shown=$elapsed
        step_line "\n"
    fi
}

step_line() {
    if [ -t 1 ]; then printf '\r\033[K'; fi
    printf "%s ... %d s$1" "$text" $((SECONDS - started))
}
