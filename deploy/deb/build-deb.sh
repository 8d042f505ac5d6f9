#!/bin/sh
# Builds brownout_VERSION_ARCH.deb with dpkg-deb. Needs a built binary and nothing else.
#
# usage: deploy/deb/build-deb.sh [BINARY [OUTPUT_DIRECTORY]]     default: target/release/brownout, target/deb
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${1:-$root/target/release/brownout}
out=${2:-$root/target/deb}

[ -x "$binary" ] || { echo "there is no binary $binary: run cargo build --release first" >&2; exit 1; }
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree

put() { # MODE FROM TO
    install -D -m "$1" "$2" "$tree/$3"
}
put 0755 "$binary" usr/bin/brownout
put 0644 "$root/deploy/systemd/brownout.service" usr/lib/systemd/system/brownout.service
put 0644 "$here/brownout.yaml" etc/brownout/brownout.yaml
install -d -m 0755 "$tree/etc/brownout/rules"
put 0644 "$root/deploy/brownout.yaml" usr/share/doc/brownout/examples/brownout.yaml
put 0644 "$root/deploy/rules/checkout.yaml" usr/share/doc/brownout/examples/rules/checkout.yaml
for file in "$root"/dashboards/*.json; do
    put 0644 "$file" "usr/share/brownout/dashboards/$(basename "$file")"
done
for kind in datasources dashboards; do
    put 0644 "$root/dashboards/provisioning/$kind/brownout.yaml" "usr/share/doc/brownout/examples/grafana/$kind/brownout.yaml"
done
for file in "$root"/docs/*.md "$root/SECURITY.md"; do
    put 0644 "$file" "usr/share/doc/brownout/$(basename "$file")"
done
put 0644 "$root/LICENSE" usr/share/doc/brownout/copyright
gzip -9n < "$root/CHANGELOG.md" > "$work/changelog.gz"
put 0644 "$work/changelog.gz" usr/share/doc/brownout/changelog.gz
# Shell completions, where this machine can run the binary.
if "$binary" completions bash > "$work/completions" 2> /dev/null; then
    put 0644 "$work/completions" usr/share/bash-completion/completions/brownout
fi

install -d -m 0755 "$tree/DEBIAN"
size=$(du -sk --exclude=DEBIAN "$tree" | cut -f 1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" "$here/control.in" > "$tree/DEBIAN/control"
install -m 0644 "$here/conffiles" "$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 0755 "$here/$script" "$tree/DEBIAN/$script"
done
(cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)

mkdir -p "$out"
package=$out/brownout_${version}_${architecture}.deb
dpkg-deb --root-owner-group --build "$tree" "$package" > /dev/null
echo "$package"
