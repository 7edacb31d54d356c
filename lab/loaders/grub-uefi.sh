# -------------------------------------------------------------------------------------------------- boot loader
# What grub-install does on a UEFI host, without a disk: its modules, an environment block, and the core as the program
# that firmware starts where it has no boot entries. lab/efi_disk.py makes the EFI partition of /boot/efi.
efi=$(printf %.8s "$uuid" | tr a-f A-F)
mkdir -p /boot/efi/EFI/BOOT /boot/grub/x86_64-efi
cp /usr/lib/grub/x86_64-efi/*.mod /usr/lib/grub/x86_64-efi/*.lst /boot/grub/x86_64-efi/
grub-editenv /boot/grub/grubenv create
cat > /boot/grub/x86_64-efi/load.cfg <<CONFIG
search.fs_uuid $uuid root
set prefix=(\$root)'/boot/grub'
CONFIG
grub-mkimage -O x86_64-efi -c /boot/grub/x86_64-efi/load.cfg -p /boot/grub -o /boot/efi/EFI/BOOT/BOOTX64.EFI \
    part_gpt ext2 search_fs_uuid
printf 'UUID=%s-%s /boot/efi vfat umask=0077 0 0\n' "${efi%????}" "${efi#????}" >> /etc/fstab
sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' /etc/default/grub

# update-grub asks grub-probe about the disk below /, which does not exist yet: answer for it, this once, as it answers
# on the booted host.
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
    device) echo /dev/vda2 ;;
    fs) echo ext2 ;;
    fs_uuid) echo $uuid ;;
    fs_label) echo root ;;
    partmap) echo gpt ;;
    drive) echo '(hd0,gpt2)' ;;
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
