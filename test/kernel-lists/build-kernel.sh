#!/bin/sh
# Builds the kernel of the lists that no distribution's kernel can make: signatures appended to files, keys of the keyring `.ima`,
# and a list carried over kexec. Some 10 minutes on two cores; not part of any test. Needs Debian's packages
# linux-source-6.12, gcc, make, flex, bison, bc, libelf-dev, libssl-dev and openssl.
#
#   build-kernel.sh FOLDER     leaves bzImage, kernel.config, measured.ko, vmlinuz-signed and the keys there
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
source=${LINUX_SOURCE:-/usr/src/linux-source-6.12.tar.xz}
tree=$out/source
if [ ! -d "$tree" ]; then
  mkdir "$tree"
  tar -C "$tree" --strip-components=1 -xJf "$source"
fi
[ -e "$out/keys/authority.pem" ] || "$here/make-keys.sh" "$out/keys"
cd "$tree"
export KBUILD_BUILD_USER=lists KBUILD_BUILD_HOST=assay KBUILD_BUILD_TIMESTAMP='2026-01-01 00:00:00 UTC'
make -s tinyconfig
scripts/kconfig/merge_config.sh -m .config "$here/kernel.fragment" >/dev/null
scripts/config --set-str SYSTEM_TRUSTED_KEYS "$out/keys/authority.pem" --set-str MODULE_SIG_KEY ''
make -s olddefconfig
# What was asked for and is not there would show only as a list without it.
grep '^CONFIG_' "$here/kernel.fragment" | while read -r line; do
  grep -qxF "$line" .config || { echo "the kernel has no $line" >&2; exit 1; }
done
nice -n 10 make -s -j"$(nproc)" bzImage modules_prepare
# The module uses no symbol of the kernel, so that the symbols of all modules need not be built.
cp -r "$here/module" "$out/"
echo 'obj-m := measured.o' >"$out/module/Kbuild"
make -s KBUILD_MODPOST_WARN=1 M="$out/module" modules
cp arch/x86/boot/bzImage "$out/bzImage"
sed "s|$out/keys|keys|" .config >"$out/kernel.config"
cp "$out/module/measured.ko" "$out/measured.ko"
cp arch/x86/boot/bzImage "$out/vmlinuz-signed"
for name in measured.ko vmlinuz-signed; do
  scripts/sign-file sha256 "$out/keys/signer-rsa.key" "$out/keys/signer-rsa.pem" "$out/$name"
done
