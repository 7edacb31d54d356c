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
    cxl-monitor.service grub-common.service ndctl-monitor.service \
    getty-static.service getty@tty1.service serial-getty@ttyS0.service \
    ssh.socket sshd-keygen.service \
    systemd-logind.service systemd-user-sessions.service systemd-pstore.service systemd-journal-flush.service \
    systemd-networkd-wait-online.service systemd-networkd-persistent-storage.service \
    systemd-network-generator.service systemd-machine-id-commit.service systemd-firstboot.service \
    systemd-tpm2-setup-early.service systemd-tpm2-setup.service systemd-pcrmachine.service \
    systemd-hibernate-clear.service systemd-udev-load-credentials.service systemd-binfmt.service \
    systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service systemd-update-done.service \
    proc-sys-fs-binfmt_misc.automount dev-mqueue.mount run-lock.mount tmp.mount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-tracing.mount \
    systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-creds.socket systemd-hostnamed.socket systemd-initctl.socket systemd-pcrextend.socket \
    systemd-pcrlock.socket systemd-rfkill.socket systemd-sysext.socket
do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
mkdir -p /etc/systemd/system-generators
for generator in getty gpt-auto hibernate-resume rc-local ssh system-update sysv tpm2; do
    ln -s /dev/null "/etc/systemd/system-generators/systemd-$generator-generator"
done
# rules for devices that are not there; those of memory, dax, block devices and modules stay
for rules in \
    55-dm 60-autosuspend 60-cdrom_id 60-dmi-id 60-drm 60-evdev 60-fido-id 60-infiniband 60-input-id \
    60-persistent-alsa 60-persistent-input 60-persistent-storage-dm 60-persistent-storage-mtd \
    60-persistent-storage-tape 60-persistent-v4l 60-sensor 60-serial 64-btrfs 70-camera 70-joystick 70-mouse \
    70-power-switch 70-touchpad 70-uaccess 71-seat 73-seat-late 75-probe_mtd 78-sound-card 90-iocost 95-dm-notify \
    96-e2scrub
do
    ln -s /dev/null "/etc/udev/rules.d/$rules.rules"
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

# update-grub asks grub-probe about the disk below /, which does not exist yet: answer for it, this once, as it answers
# on the booted host, where update-grub then writes the same file again.
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
    abstraction | compatibility_hint | hints_string) ;;
    *) exit 1 ;;
esac
PROBE
chmod 0755 /usr/sbin/grub-probe
mkdir -p /dev/disk/by-uuid
touch "/dev/disk/by-uuid/$uuid"
update-grub
rm -r /dev/disk
mv /usr/sbin/grub-probe.real /usr/sbin/grub-probe

# nothing is out of date (ConditionNeedsUpdate of systemd.unit(5)); last, because it looks at times
touch -r /usr /etc/.updated /var/.updated
