#!/usr/bin/env bash
# vela.sh IMAGE: the image of config/samples/measurements/Containerfile for this machine's architecture, from Debian's packages and PyPI, without a
# builder or another registry than the one that it is pushed to. It prints the image by its digest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ $# = 1 ] || { echo "usage: vela.sh IMAGE, such as vela.sh registry.example.com/vela:5.2.0" >&2; exit 64; }
for tool in mmdebstrap python3 go make; do
  command -v "$tool" > /dev/null || { echo "vela.sh: there is no $tool" >&2; exit 69; }
done
make --no-print-directory bin/crane >&2
sample=config/samples/measurements
vela=$(sed -n 's/.* \(ethos-u-vela==[0-9.]*\)$/\1/p' $sample/Containerfile)
suite=bookworm python=3.11 # that of the suite
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --variant=essential --include=python3,libstdc++6 --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' $suite "$work/debian.tar" >&2
mkdir -p "$work/vela/usr/local/bin"
python3 -m pip install --quiet --root-user-action ignore --target "$work/vela/usr/local/lib/python$python/dist-packages" --python-version $python --only-binary :all: "$vela" >&2
printf '#!/bin/sh\nexec python3 -m ethosu.vela "$@"\n' > "$work/vela/usr/local/bin/vela"
chmod 755 "$work/vela/usr/local/bin/vela"
install -m 755 $sample/vela.sh "$work/vela/vela.sh"
tar -C "$work/vela" --owner=0 --group=0 -cf "$work/vela.tar" .

pushed=$(bin/crane append --oci-empty-base -f "$work/debian.tar,$work/vela.tar" -t "$1")
bin/crane mutate "$pushed" --set-platform "linux/$(go env GOHOSTARCH)" --user 65532:65532 \
  --env PATH=/usr/local/bin:/usr/bin:/bin --tag "$1"
