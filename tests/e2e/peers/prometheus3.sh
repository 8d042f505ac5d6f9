#!/usr/bin/env bash
# Puts prometheus and promtool 3.x, from Debian's sid, into a folder (default: target/peers/prometheus3) and prints the folder.
# Uses an apt configuration of its own: the system's sources, lists and packages are neither read nor changed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$(realpath -m "${1:-$here/../../../target/peers/prometheus3}")
if [ ! -x "$into/usr/bin/prometheus" ] || [ ! -x "$into/usr/bin/promtool" ]; then
  apt=$into/apt
  mkdir -p "$apt"/{lists/partial,archives/partial,parts,trusted,debs}
  : >"$apt/status"
  cat >"$apt/sources.list" <<SOURCES
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main
SOURCES
  cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Etc "$apt";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/parts";
Dir::Etc::preferences "$apt/preferences";
Dir::Etc::preferencesparts "$apt/parts";
Dir::Etc::trustedparts "$apt/trusted";
APT::Architecture "$(dpkg --print-architecture)";
APT::Sandbox::User "";
Acquire::Languages "none";
// A mirror may lag by weeks. The signature is checked all the same.
Acquire::Check-Valid-Until "false";
Dir::Etc::parts "$apt/parts";
CONF
  (
    # Proxies and the like are the system's.
    for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
      [ -f "$file" ] && grep -hiE '^\s*Acquire::' "$file" || true
    done >>"$apt/apt.conf"
    export APT_CONFIG=$apt/apt.conf
    cd "$apt/debs"
    apt-get update -qq
    apt-get download -qq prometheus
  ) >&2
  for deb in "$apt"/debs/*.deb; do dpkg -x "$deb" "$into"; done
  rm -rf "$apt"
fi
"$into/usr/bin/prometheus" --version 2>&1 | head -1 >&2
echo "$into/usr/bin"
