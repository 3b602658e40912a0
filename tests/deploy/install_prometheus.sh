#!/bin/sh
# Puts Prometheus and promtool on this machine for the tests that use them (Debian and Ubuntu, as root).
# Nothing is started: tests start their own. Elsewhere those tests skip, loudly.
set -eu
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "install_prometheus.sh: needs root and apt-get; the tests against a real Prometheus will skip" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# RUNLEVEL=1 keeps the package's own service from being started.
RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null
prometheus --version 2>&1 | head -n 1
