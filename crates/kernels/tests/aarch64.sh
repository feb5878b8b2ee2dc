#!/usr/bin/env bash
# Builds this crate for aarch64 and runs its tests under qemu, on two processors: one with
# the dot product extension (the NEON kernels) and one without (the portable kernels).
#
#     sudo bash crates/kernels/tests/aarch64.sh [FOLDER]
#
# Everything is installed in FOLDER (target/aarch64, about 2 GB): a Debian with its own
# rustc, the standard library for aarch64, a cross linker and qemu. Needs root for chroot,
# and the host's cargo. debootstrap is installed if apt-get is present.
set -euo pipefail
crate=$(cd "$(dirname "$0")/.." && pwd)
workspace=$(cd "$crate/../.." && pwd)
folder=${1:-$workspace/target/aarch64}
mkdir -p "$folder"
root=$(cd "$folder" && pwd)/debian
mirror=http://deb.debian.org/debian

if [ ! -e "$root/ready" ]; then
    command -v debootstrap > /dev/null || apt-get install -y debootstrap
    rm -rf "$root"
    debootstrap --variant=minbase trixie "$root" "$mirror"
    # The release's rustc is too old for the workspace, so it comes from backports.
    echo "deb $mirror trixie-backports main" > "$root/etc/apt/sources.list.d/backports.list"
    chroot "$root" dpkg --add-architecture arm64
    chroot "$root" apt-get update
    chroot "$root" apt-get install -y --no-install-recommends -t trixie-backports \
        rustc cargo libstd-rust-dev:arm64 qemu-user
    chroot "$root" apt-get install -y --no-install-recommends \
        gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    touch "$root/ready"
fi

# A copy of the crate alone: versions from the workspace, without the parts that need
# candle.
copy=$root/kernels
rm -rf "$copy/src" "$copy/tests" "$copy/vendor" "$copy/.cargo"
mkdir -p "$copy/.cargo"
cp -r "$crate/src" "$crate/tests" "$workspace/Cargo.lock" "$copy"
rm "$copy/tests/ggml.rs"
{
    printf '[package]\nname = "tokenroute-kernels"\nversion = "0.1.0"\nedition = "2024"\n[dependencies]\n'
    awk '/^\[/ { on = $0 == "[dependencies]" } on && /\.workspace = true/ { sub(/\..*/, ""); print }' \
        "$crate/Cargo.toml" | while read -r name; do grep "^$name = " "$workspace/Cargo.toml"; done
    printf '[profile.dev]\nopt-level = 2\n[workspace]\n'
} > "$copy/Cargo.toml"
(cd "$copy" && cargo vendor --quiet vendor)
printf '[source.crates-io]\nreplace-with = "vendor"\n[source.vendor]\ndirectory = "vendor"\n' \
    > "$copy/.cargo/config.toml"

for run in max:neon cortex-a53:portable; do
    cpu=${run%:*}
    # TOKENROUTE_ISA must name a set that the processor supports, or tests of the chosen
    # set fail.
    echo "== $cpu, ${run#*:}"
    TOKENROUTE_ISA=${run#*:} chroot "$root" env -C /kernels PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $cpu -L /usr/aarch64-linux-gnu" \
        cargo test --offline --target aarch64-unknown-linux-gnu
done
