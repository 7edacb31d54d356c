#!/bin/sh
# Copyright: Contributors to the Carveout project
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
#
# enter.sh HOST COMMAND: runs the command as root of a host that is faked by the directory HOST (bench/faked.py makes it).
# What the directory does not have is this machine's, in a mount namespace that goes with the command. Each call adds a
# line to HOST/calls.
set -eu
echo "$2" | head -c 200 | tr '\n' ' ' >> "$1/calls"
echo >> "$1/calls"
map=
[ "$(id -u)" = 0 ] || map=--map-root-user
exec unshare --mount $map sh -euc '
root=$1/root
mount -t overlay -o "lowerdir=$1/usr:/usr" overlay "$root/usr"
for place in proc sys dev; do mount --rbind "/$place" "$root/$place"; done
mount --bind "$1/firmware" "$root/sys/firmware"
mount --bind "$1/node" "$root/sys/devices/system/node"
for name in cmdline iomem meminfo vmstat; do mount --bind "$1/proc/$name" "$root/proc/$name"; done
for name in osrelease random/boot_id; do mount --bind "$1/proc/$name" "$root/proc/sys/kernel/$name"; done
HOME=/root exec chroot "$root" /bin/sh -c "$2"
' sh "$1" "$2"
