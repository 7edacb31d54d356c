#!/bin/sh
# Finish the root file system of the lab image. Runs inside it, as root, after all packages are configured.
# usage: setup.sh UUID    the UUID that its file system will get
set -eu
uuid=$1

# ---------------------------------------------------------------------------------------------------- services
# What a host with one job and no users at its console does without. Each costs seconds in software emulation.
for unit in \
    apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-tmpfiles-clean.timer \
    cxl-monitor.service ndctl-monitor.service \
    getty-static.service getty@tty1.service \
    ssh.socket sshd-keygen.service \
    systemd-logind.service systemd-networkd-wait-online.service systemd-pstore.service \
    systemd-network-generator.service systemd-networkd-persistent-storage.service \
    systemd-tpm2-setup-early.service systemd-tpm2-setup.service systemd-hibernate-clear.service \
    systemd-firstboot.service systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service \
    systemd-update-done.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-tracing.mount \
    systemd-ask-password-console.path systemd-ask-password-wall.path
do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
systemctl --quiet enable systemd-networkd.service ssh.service
systemctl --quiet set-default multi-user.target

# ---------------------------------------------------------------------------------------------------- identity
# the machine gives its name and its UUID (systemd.system-credentials(7), machine-id(5)): one image, many hosts
rm -f /etc/hostname
: > /etc/machine-id
printf 'nameserver 10.0.2.3\n' > /etc/resolv.conf
printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts
printf 'UUID=%s / ext4 errors=remount-ro 0 0\n' "$uuid" > /etc/fstab
chmod 0700 /root/.ssh
chmod 0600 /root/.ssh/authorized_keys /etc/ssh/ssh_host_ed25519_key

# -------------------------------------------------------------------------------------------------- boot loader
# What grub-install does, without a disk: its modules, an environment block, and the core that lab/disk.py embeds.
mkdir -p /boot/grub/i386-pc
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /usr/lib/grub/i386-pc/boot.img /boot/grub/i386-pc/
grub-editenv /boot/grub/grubenv create
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/i386-pc/core.img biosdisk part_msdos ext2

# update-grub asks grub-probe about the disk below /, which does not exist yet: answer for it, this once.
# (Run again on the booted host, update-grub writes the same file: tests/unit cannot, but `lab` was built so.)
mv /usr/sbin/grub-probe /usr/sbin/grub-probe.real
cat > /usr/sbin/grub-probe <<PROBE
#!/bin/sh
for argument; do
    case \$argument in
        --target=*) target=\${argument#--target=} ;;
        -t) target=next ;;
        *) [ "\${target-}" != next ] || target=\$argument ;;
    esac
done
case \$target in
    device) echo /dev/vda1 ;;
    fs) echo ext2 ;;
    fs_uuid) echo $uuid ;;
    fs_label) echo root ;;
    partmap) echo msdos ;;
    drive) echo '(hd0,msdos1)' ;;
    compatibility_hint) echo hd0,msdos1 ;;
    hints_string) echo "--hint-bios=hd0,msdos1 --hint-efi=hd0,msdos1 --hint-baremetal=ahci0,msdos1 " ;;
    abstraction) ;;
    *) exit 1 ;;
esac
PROBE
chmod 0755 /usr/sbin/grub-probe
mkdir -p /dev/disk/by-uuid
touch "/dev/disk/by-uuid/$uuid"
update-grub
rm -r /dev/disk
mv /usr/sbin/grub-probe.real /usr/sbin/grub-probe
