#!/usr/bin/env bash
# Installs the Debian packages that the tests and benchmarks need, where this user may; else names them in a sentence.
set -euo pipefail

WANTED=(
  chromium firefox-esr nodejs                                    # the browsers, and what drives them
  webkit2gtk-driver xvfb                                         # the third one, and a screen for it
  ffmpeg                                                         # the judge of recorded bytes
  python3-gi python3-numpy gir1.2-gst-rtsp-server-1.0            # the test camera
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav gstreamer1.0-tools glib-networking          # the last one is its TLS
  nginx-light libnginx-mod-rtmp stunnel4                         # RTMP's other ends; the tests start them, see below
  pulseaudio pulseaudio-utils                                    # a sound card for `make bench`; each run has one of its own
  iproute2                                                       # a bad network of our own
  fonts-dejavu-core
  binaryen esbuild                                               # .ci/shrink.sh: a smaller player
)

missing=()
for package in "${WANTED[@]}"; do
  # A Node from elsewhere than Debian does as well.
  [ "$package" = nodejs ] && command -v node >/dev/null && command -v npm >/dev/null && continue
  [ "$package" = nodejs ] && { missing+=(nodejs npm); continue; }
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  echo "Installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  # nginx would be started now and at every boot, and take port 80: the tests start one of their own.
  if [[ " ${missing[*]} " = *" nginx-light "* ]] && ! dpkg-query -W nginx >/dev/null 2>&1; then
    fresh_nginx=yes
    no_start=/usr/sbin/policy-rc.d
    if [ ! -e "$no_start" ]; then
      printf '#!/bin/sh\nexit 101\n' | $sudo tee "$no_start" >/dev/null
      $sudo chmod +x "$no_start"
      trap '$sudo rm -f "$no_start"' EXIT
    fi
  fi
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  [ -z "${fresh_nginx:-}" ] || $sudo update-rc.d nginx disable >/dev/null 2>&1
else
  echo "The tests need these Debian packages, or the same from your system: ${missing[*]}" >&2
  exit 1
fi
