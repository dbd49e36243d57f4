#!/bin/sh
# Installs what is missing, and only that. The one place that knows what
# things are called on which system.
#
#   scripts/packages.sh build            to build and to run the demo
#   scripts/packages.sh build test       and to run the tests
#   scripts/packages.sh build test fuzz  and to fuzz
#   scripts/packages.sh --optional browser   no error where there is none
set -eu

# set      Debian, Ubuntu        Fedora, RHEL
table='
build      gcc                   gcc
build      libc6-dev             glibc-devel
build      make                  make
build      autoconf              autoconf
build      automake              automake
build      libtool               libtool
build      pkg-config            pkgconf-pkg-config
build      apache2-bin           httpd
build      apache2-dev           httpd-devel
build      apache2-ssl-dev       mod_ssl
build      libapr1-dev           apr-devel
build      libaprutil1-dev       apr-util-devel
build      libssl-dev            openssl-devel
build      libjansson-dev        jansson-devel
build      zlib1g-dev            zlib-devel
build      openssl               openssl
build      curl                  /usr/bin/curl
build      procps                procps-ng
test       g++                   gcc-c++
test       clang                 clang
test       check                 check-devel
test       valgrind              valgrind
test       shellcheck            /usr/bin/shellcheck
test       xz-utils              xz
test       iproute2              iproute
test       util-linux            util-linux
test       python3-pytest        python3-pytest
test       python3-pytest-xdist  python3-pytest-xdist
test       python3-websockets    python3-websockets
test       python3-h2            python3-h2
test       node-ws               -
test       -                     libasan
test       -                     libubsan
test       -                     libtsan
fuzz       libclang-rt-dev       compiler-rt
browser    chromium              chromium
browser    chromium-driver       chromedriver
browser    python3-selenium      python3-selenium
'

optional=no
if [ "${1-}" = --optional ]; then
    optional=yes
    shift
fi

say() {
    printf '%s\n' "$*"
}

# What cannot be had ends it, unless we can do without. A line an argument.
give_up() {
    printf '%s\n' "$@" >&2
    if [ "$optional" = yes ]; then
        exit 0
    fi
    exit 1
}

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    manager=apt
    column=2
    install='apt-get install --yes --no-install-recommends'
elif command -v dnf >/dev/null; then
    manager=dnf
    column=3
    install='dnf install --assumeyes --setopt=install_weak_deps=False'
else
    manager=none
    column=2
fi

# wanted SET...: their packages.
wanted() {
    for set in "$@"; do
        say "$table" | awk -v set="$set" -v column="$column" \
            '$1 == set && $column != "-" { print $column }'
    done
}

is_installed() {
    case $manager in
        apt)
            dpkg-query -W -f '${db:Status-Abbrev}\n' "$1" 2>/dev/null |
                grep -q '^ii'
            ;;
        dnf) rpm --quiet -q --whatprovides "$1" ;;
    esac
}

is_available() {
    case $manager in
        apt)
            LC_ALL=C apt-cache policy "$1" 2>/dev/null |
                grep '^  Candidate:' | grep -qv '(none)'
            ;;
        *) true ;;              # dnf says it itself, and better
    esac
}

# only_if CONDITION PACKAGE...: those for which it holds.
only_if() {
    condition=$1
    shift
    for package in "$@"; do
        if "$condition" "$package"; then
            say "$package"
        fi
    done
}

is_missing() {
    ! is_installed "$1"
}

is_unavailable() {
    ! is_available "$1"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@" </dev/null
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

if [ "$manager" = none ]; then
    for tool in cc make autoconf automake libtoolize pkg-config apxs; do
        command -v "$tool" >/dev/null ||
            give_up "Neither apt nor dnf here, and no $tool. Please install" \
                "what corresponds to these Debian packages:" \
                "    $(wanted "$@" | tr '\n' ' ')"
    done
    exit 0
fi

packages=$(wanted "$@")
# shellcheck disable=SC2086     # one word a package
missing=$(only_if is_missing $packages | tr '\n' ' ')
missing=${missing% }
if [ -z "$missing" ]; then
    exit 0
fi

command="$install $missing"
say "Missing packages ($*): $missing"
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    give_up "There is no sudo here to install them. As root, run:" \
        "    $command"
fi
if [ "$(id -u)" -ne 0 ]; then
    say "Installing them with sudo, which may ask for your password:"
fi
say "    $command"

updated=no
update_lists() {
    if [ "$manager" = apt ] && [ "$updated" = no ]; then
        updated=yes
        as_root apt-get -qq update ||
            say "apt-get update failed: trying with the lists as they are." >&2
    fi
}

# shellcheck disable=SC2086
unavailable=$(only_if is_unavailable $missing)
if [ -n "$unavailable" ]; then
    update_lists
    # shellcheck disable=SC2086
    unavailable=$(only_if is_unavailable $missing | tr '\n' ' ')
fi
if [ -n "$unavailable" ]; then
    give_up "Not to be had from this machine's package sources:" \
        "    $unavailable" \
        "Add a source that has them (/etc/apt/sources.list; on Ubuntu the" \
        "section universe), then run this again."
fi

# shellcheck disable=SC2086
install_missing() {
    case $manager in
        apt) as_root $install -qq -o Dpkg::Use-Pty=0 $missing >"$log" 2>&1 ;;
        dnf) as_root $install --quiet $missing >"$log" 2>&1 ;;
    esac
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install_missing; then
    update_lists            # the lists may have named what is gone
    if [ "$updated" = no ] || ! install_missing; then
        tail -n 15 "$log" >&2
        give_up "They could not be installed. When the network is there and" \
            "no other installation is running, try again:" \
            "    $command"
    fi
fi
say "Installed."
