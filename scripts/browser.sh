#!/bin/sh
# Chromium and its driver for the browser tests: installed with apt-get where they are
# missing and that is possible without asking. Under CI their absence is an error.
set -eu

there() { command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; }

if there; then exit 0; fi
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then root=
    elif sudo -n true 2>/dev/null; then root="sudo -n"
    else root=none
    fi
    if [ "$root" != none ]; then
        $root apt-get update -qq || true
        DEBIAN_FRONTEND=noninteractive $root apt-get install -qq -y --no-install-recommends \
            chromium chromium-driver >/dev/null || true
    fi
fi
if there; then exit 0; fi
echo "browser tests need chromium and chromedriver on PATH (Debian: apt-get install chromium chromium-driver)" >&2
case "${CI:-}" in "" | false | 0) echo "they will be skipped" >&2 ;; *) exit 1 ;; esac
